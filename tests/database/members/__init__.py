"""User models that are made in other ways than most."""
