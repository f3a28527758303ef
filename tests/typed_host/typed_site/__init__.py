"""A site whose every line is typed."""
