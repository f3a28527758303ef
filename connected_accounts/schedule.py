"""The periodic tasks, as a plain dict to merge into the site's Celery beat schedule.

Imports neither Celery nor Django, so that a settings module can use it.
"""

from typing import Any, Final

__all__ = ["BEAT_SCHEDULE"]

BEAT_SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "connected_accounts.refresh_due_accounts": {
        "task": "connected_accounts.refresh_due_accounts",
        "schedule": 60.0,
        # A message that waited for longer than the interval has been overtaken by the next one.
        "options": {"expires": 60},
    },
    "connected_accounts.revoke_pending_tokens": {
        "task": "connected_accounts.revoke_pending_tokens",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    # No rarer: where each deploy begins with a new schedule file, as in a container, an entry first
    # runs one interval later, and one of a day might never.
    "connected_accounts.purge": {
        "task": "connected_accounts.purge",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
}
