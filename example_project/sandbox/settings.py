"""Settings of the sandbox. Not those of the example site: two processes, two databases.

All that varies comes from SANDBOX_… variables, which ``__main__`` sets from its arguments.
"""

import os
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .dialects import DIALECTS

# New with every start, which only signs people out of the sandbox.
SECRET_KEY = secrets.token_urlsafe(50)
DEBUG = False
ALLOWED_HOSTS = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    os.environ.get("SANDBOX_HOST", "127.0.0.1"),
    *filter(None, os.environ.get("SANDBOX_ALLOWED_HOSTS", "").split(",")),
]

SANDBOX_THROTTLE = bool(os.environ.get("SANDBOX_THROTTLE"))
SANDBOX_API_KEY = os.environ.get("SANDBOX_API_KEY", "")
SANDBOX_ACCESS_TOKEN_SECONDS = int(os.environ.get("SANDBOX_ACCESS_TOKEN_SECONDS") or 0)
SANDBOX_REFRESH_TOKEN_SECONDS = int(os.environ.get("SANDBOX_REFRESH_TOKEN_SECONDS") or 0)
SANDBOX_CLIENT_SECRET_SECONDS = int(os.environ.get("SANDBOX_CLIENT_SECRET_SECONDS") or 0)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
    "example_project.sandbox.apps.SandboxConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.sandbox.urls"
# Each address that exists with and without its slash is listed; nothing is guessed.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]

# Cookies ignore the port: with Django's names, signing in here would sign out of the site.
SESSION_COOKIE_NAME = "sandbox_sessionid"
CSRF_COOKIE_NAME = "sandbox_csrftoken"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/accounts/login/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
# Each password here is its owner's name, so a slow hash would protect nothing.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SANDBOX_DATABASE", "sandbox.sqlite3"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A transaction takes the write lock when it begins. The toolkit's row locks do
            # nothing on SQLite; this is what makes two uses of one token come one by one.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"


def access_token_seconds(request: Any) -> int:
    """For oauthlib: the life of the token that answers this request."""
    dialect = DIALECTS[request.client.registration.dialect]
    return SANDBOX_ACCESS_TOKEN_SECONDS or dialect.access_seconds


def new_private_key() -> str:
    """New with every start; a client fetches its public half when it needs it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


OAUTH2_PROVIDER = {
    "SCOPES": {name: text for d in DIALECTS.values() for name, text in d.scopes.items()},
    "SCOPES_BACKEND_CLASS": "example_project.sandbox.oauth.DialectScopes",
    "ACCESS_TOKEN_GENERATOR": "example_project.sandbox.oauth.generate_dialect_token",
    "REFRESH_TOKEN_GENERATOR": "example_project.sandbox.oauth.generate_dialect_token",
    "EXTRA_SERVER_KWARGS": {"token_expires_in": access_token_seconds},
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    # With OIDC on, the toolkit would take an id_token for a bearer token at every provider.
    "OAUTH2_SERVER_CLASS": "oauthlib.oauth2.Server",
    # The discovery documents describe the OpenID provider, and so these are its own.
    "OAUTH2_VALIDATOR_CLASS": "example_project.sandbox.oidc.OidcValidator",
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": new_private_key(),
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["authorization_code", "refresh_token"],
    # The client site runs on http at the loopback address.
    "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        # A refusal is what the sandbox is for, status 500 or not; only a crash is news.
        "crash": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: record.exc_info is not None,
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "django.request": {
            "handlers": ["console"],
            "filters": ["crash"],
            "level": "ERROR",
            "propagate": False,
        },
        "oauth2_provider": {"handlers": ["console"], "level": "ERROR", "propagate": False},
    },
}
