"""What works with another package; each needs an extra, and nothing else needs them."""
