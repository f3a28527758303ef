"""Withdrawing a grant at its provider: the outbox, and one attempt."""
