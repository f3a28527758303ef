"""People who sign in by their e-mail address, and have no name and no number."""
