"""Whole sites in processes of their own, each with something that others have not."""
