"""Keeping fresh: which accounts are due, the claim, the request, and what is stored of it."""
