"""A user model whose key has a collation of its own."""
