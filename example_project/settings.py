"""Settings of the example site. They work as they are; the environment takes over.

Without any variable set: SQLite, a Celery broker that is a folder, and the sandbox in place of the
real providers.
"""

from os import environ as env
from pathlib import Path
from typing import Any

import dj_database_url

from connected_accounts.schedule import BEAT_SCHEDULE

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = env.get("SECRET_KEY", "django-insecure-only-for-the-demo-on-your-own-machine")
DEBUG = env.get("DEBUG", "").lower() in ("1", "true", "yes", "on")
ALLOWED_HOSTS = env.get("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",")

INSTALLED_APPS = [
    # Before connected_accounts, so that its templates of the same name win.
    "example_project.apps.ExampleProjectConfig",
    "example_project.teams.apps.TeamsConfig",
    "connected_accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database ---------------------------------------------------------------------------------

SQLITE = "django.db.backends.sqlite3"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": SQLITE, "NAME": str(BASE_DIR / "db.sqlite3")}
}
if env.get("DATABASE_URL"):
    DATABASES["default"] = {**dj_database_url.parse(env["DATABASE_URL"])}
if DATABASES["default"]["ENGINE"] == SQLITE:
    DATABASES["default"]["OPTIONS"] = {
        # The site and the worker write at the same time. A transaction that takes the write lock
        # when it begins waits for its turn; one that takes it later fails: "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

# --- Celery -----------------------------------------------------------------------------------

CELERY_BROKER_URL = env.get("CELERY_BROKER_URL") or "folder://localhost//"
if CELERY_BROKER_URL.startswith("folder:"):
    # Messages are files in a folder that the site, the worker and beat share: nothing to install.
    BROKER_FOLDER = Path(env.get("BROKER_FOLDER") or BASE_DIR / ".demo" / "broker")
    (BROKER_FOLDER / "messages").mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_FOLDER / "messages"),
        "data_folder_out": str(BROKER_FOLDER / "messages"),
        "control_folder": str(BROKER_FOLDER / "control"),
        "polling_interval": 0.5,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = env.get("CELERY_TASK_DEFAULT_QUEUE", "celery")
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
if env.get("DEMO_BEAT_SECONDS"):
    # The demo's tokens live for a minute only, and nobody wants to wait for that long.
    for name in (
        "connected_accounts.refresh_due_accounts",
        "connected_accounts.revoke_pending_tokens",
    ):
        CELERY_BEAT_SCHEDULE[name] = BEAT_SCHEDULE[name] | {
            "schedule": float(env["DEMO_BEAT_SECONDS"])
        }

# --- Connected accounts -----------------------------------------------------------------------

# For the demo only: whoever can read this key can open the tokens in your database. A site makes
# its own and keeps it out of the repository. Several, with commas between: the first encrypts.
FIELD_ENCRYPTION_KEY = env.get(
    "FIELD_ENCRYPTION_KEY", "b25seS1mb3ItdGhlLWRlbW8tMDEyMzQ1Njc4OS1hYmM="
).split(",")

# With a client id in the environment the real provider is asked, without one the sandbox.
SANDBOX_URL = env.get("SANDBOX_URL", "http://127.0.0.1:9000")
BADGR_HOME = "" if "BADGR_CLIENT_ID" in env else f"{SANDBOX_URL}/badgr"
if "BITBADGES_CLIENT_ID" in env:
    BITBADGES_UI, BITBADGES_API = "https://bitbadges.io", "https://api.bitbadges.io/api/v0"
else:
    BITBADGES_UI, BITBADGES_API = f"{SANDBOX_URL}/bitbadges", f"{SANDBOX_URL}/bitbadges/api/v0"

BITS_API = "https://api.bits.bi" if "BITS_CLIENT_ID" in env else f"{SANDBOX_URL}/bits"
if "BIME_CLIENT_ID" in env:
    BIME_SITE, BIME_API = "https://{account}.bime.io", "https://api.bime.io/v3"
else:  # its accounts are folders in the sandbox
    BIME_SITE, BIME_API = f"{SANDBOX_URL}/bime/{{account}}", f"{SANDBOX_URL}/bime/api/v3"
BIME_OPTIONS = {"site_base": BIME_SITE, "api_base": BIME_API}
BADGE_CONNECT_HOSTS = [f"{SANDBOX_URL}/badgeconnect", f"{SANDBOX_URL}/badgeconnect3"]
if "BADGE_CONNECT_HOSTS" in env:
    BADGE_CONNECT_HOSTS = env["BADGE_CONNECT_HOSTS"].split(",")

MCP_SERVERS = env.get("MCP_SERVERS", "http://127.0.0.1:9001/mcp").split(",")

CONNECTED_ACCOUNTS = {
    "REDIRECT_BASE_URL": env.get("REDIRECT_BASE_URL") or None,
    # Who may use, connect and disconnect the accounts of a team.
    "OWNERS": "example_project.teams.owners.owners_of",
    "PROVIDERS": {
        "badgr": {
            "BACKEND": "connected_accounts.providers.badgr.Badgr",
            "CLIENT_ID": env.get("BADGR_CLIENT_ID", "badgr-demo"),
            "CLIENT_SECRET": env.get("BADGR_CLIENT_SECRET", "badgr-demo-secret"),
            "SCOPES": ["r:profile", "r:backpack"],
            "OPTIONS": {
                "region": env.get("BADGR_REGION", "us"),
                "ui_base": env.get("BADGR_UI_BASE", BADGR_HOME),
                "api_base": env.get("BADGR_API_BASE", BADGR_HOME),
            },
        },
        "bitbadges": {
            "BACKEND": "connected_accounts.providers.bitbadges.BitBadges",
            "CLIENT_ID": env.get("BITBADGES_CLIENT_ID", "bitbadges-demo"),
            "CLIENT_SECRET": env.get("BITBADGES_CLIENT_SECRET", "bitbadges-demo-secret"),
            "SCOPES": ["readProfile"],
            "OPTIONS": {
                "api_key": env.get("BITBADGES_API_KEY", ""),
                "ui_base": env.get("BITBADGES_UI_BASE", BITBADGES_UI),
                "api_base": env.get("BITBADGES_API_BASE", BITBADGES_API),
            },
        },
        # The client is for the site's own account; each person brings credentials of their own.
        "bits": {
            "BACKEND": "connected_accounts.providers.bits.Bits",
            "CLIENT_ID": env.get("BITS_CLIENT_ID", "bits-demo"),
            "CLIENT_SECRET": env.get("BITS_CLIENT_SECRET", "bits-demo-secret"),
            "OPTIONS": {"api_base": BITS_API},
            "REFRESH_POLICY": "ahead",  # so that it can be watched
        },
        "bime": {
            "BACKEND": "connected_accounts.providers.bime.Bime",
            "CLIENT_ID": env.get("BIME_CLIENT_ID", "bime-demo"),
            "CLIENT_SECRET": env.get("BIME_CLIENT_SECRET", "bime-demo-secret"),
            "OPTIONS": BIME_OPTIONS,
        },
        # The same, with a token that a person made there.
        "bime-token": {
            "BACKEND": "connected_accounts.providers.bime.Bime",
            "OPTIONS": {
                **BIME_OPTIONS,
                "grant_type": "personal_token",
                "name": "Bime by token",
            },
        },
        # No client: the site registers itself at each of the hosts.
        "badges": {
            "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
            "OPTIONS": {"hosts": BADGE_CONNECT_HOSTS},
        },
        # Any server of the Model Context Protocol that is listed: its address is enough.
        "mcp": {
            "BACKEND": "connected_accounts.providers.mcp.MCP",
            "OPTIONS": {"servers": MCP_SERVERS},
        },
        # Any OpenID provider: its issuer is enough.
        "oidc": {
            "BACKEND": "connected_accounts.providers.generic.OAuth2",
            "CLIENT_ID": env.get("OIDC_CLIENT_ID", "oidc-demo"),
            "CLIENT_SECRET": env.get("OIDC_CLIENT_SECRET", "oidc-demo-secret"),
            "OPTIONS": {
                "issuer": env.get("OIDC_ISSUER", f"{SANDBOX_URL}/oidc"),
                "name": "OpenID",
            },
        },
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"connected_accounts": {"level": "INFO"}},
}
