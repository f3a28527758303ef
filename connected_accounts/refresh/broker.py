"""The way of a grant to the broker while the database is away."""

from collections.abc import Callable

# Takes account id, generation and the sealed grant. Set when the app is ready, so that what
# refreshes need not know Celery.
send: Callable[[int, int, str], None] | None = None
