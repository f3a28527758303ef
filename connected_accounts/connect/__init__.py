"""Connecting: the authorization URL, the callback, what is stored, and what is refused."""
