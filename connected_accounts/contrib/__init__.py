"""Integrations with other packages; each needs an extra, and nothing else needs them."""
