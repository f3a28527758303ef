"""Withdrawing a grant at its provider: disconnect, the outbox, and one attempt."""
