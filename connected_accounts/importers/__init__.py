"""Taking over the connections that another package has stored."""
