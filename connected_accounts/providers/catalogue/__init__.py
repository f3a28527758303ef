"""Services by name: reading their files, and the classes of those that need code."""
