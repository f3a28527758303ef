"""Settings, as the documentation has them."""

from typing import Any

import connected_accounts
from connected_accounts.schedule import BEAT_SCHEDULE

VERSION: str = connected_accounts.__version__
SECRET_KEY = "only for the type checkers"
ROOT_URLCONF = "typed_site.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "connected_accounts",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
FIELD_ENCRYPTION_KEY = ["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="]
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {**BEAT_SCHEDULE}
CONNECTED_ACCOUNTS: dict[str, Any] = {
    "PROVIDERS": {
        "medals": {"BACKEND": "typed_site.providers.Medals", "CLIENT_ID": "client"},
    },
}
