"""Settings of a small site. ``SITE_IS`` says of which kind it is, ``SITE`` what its address is,
``FOLDER`` where its files are, and ``PROVIDERS`` which services there are."""

import json
from os import environ as env
from pathlib import Path
from typing import Any

IS = env["SITE_IS"]
FOLDER = Path(env["FOLDER"])

SECRET_KEY = "of-a-site-in-tests"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "connected_accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tests.sites.urls"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "DIRS": [FOLDER / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
STATIC_URL = "/static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = FOLDER / "mails"

FIELD_ENCRYPTION_KEY = ["b2YtYS1zaXRlLWluLXRlc3RzLTAxMjM0NTY3ODlhYmM="]
CONNECTED_ACCOUNTS: dict[str, Any] = {
    "REDIRECT_BASE_URL": env["SITE"],
    "RECONNECT_MAIL": True,
    "PROVIDERS": json.loads(env["PROVIDERS"]),
}

if IS == "people":
    INSTALLED_APPS.append("tests.sites.people")
    MIGRATION_MODULES = {"people": None}
    AUTH_USER_MODEL = "people.Person"
elif IS == "asynchronous":
    MIDDLEWARE.insert(0, "tests.sites.asynchronous.middleware")
elif IS == "under_a_path":
    FORCE_SCRIPT_NAME = "/app"
    STATIC_URL = "/app/static/"
