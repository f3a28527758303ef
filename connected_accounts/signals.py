"""The signals to the site. Sender: ``ConnectedAccount``; sent after commit, robustly.

``account_connected(account, created)`` · ``account_refreshed(account)`` ·
``refresh_failed(account, error)`` · ``reconnect_required(account, reason)`` ·
``account_disconnected(provider, subject, user, owner)``
"""

from django.dispatch import Signal

__all__ = [
    "account_connected",
    "account_disconnected",
    "account_refreshed",
    "reconnect_required",
    "refresh_failed",
]

account_connected = Signal()
account_refreshed = Signal()
refresh_failed = Signal()
reconnect_required = Signal()
account_disconnected = Signal()
