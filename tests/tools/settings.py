"""A site with one tool beside the app: ``TOOL`` names it, and ``RECIPE`` is 1 where what
docs/how-to/beside-your-tools.md says of it is done."""

import os
import re
from pathlib import Path
from typing import Any

from tests.tools.collector import CLIENT_SECRET

TOOL = os.environ["TOOL"]
RECIPE = os.environ["RECIPE"] == "1"
COLLECTOR = os.environ["COLLECTOR"]
FOLDER = Path(os.environ["FOLDER"])

SECRET_KEY = "a key of the tests that nobody else has, and long enough"
FIELD_ENCRYPTION_KEY = ["YS1rZXktb2YtdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="]
DEBUG = TOOL == "debug-toolbar"
ALLOWED_HOSTS = ["127.0.0.1"]
INTERNAL_IPS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.tools.site"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
LOGIN_REDIRECT_URL = "/connections/"
DATABASES: dict[str, Any] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "db.sqlite3"}
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ADMINS: list[Any] = [("Admin", "admin@site.example")]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = FOLDER / "mail"
CELERY_TASK_ALWAYS_EAGER = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "connected_accounts",
    "tests.tools",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tests.tools.site.Faults",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
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
_OAUTH2 = {
    "authorization_endpoint": f"{COLLECTOR}/authorize",
    "token_endpoint": f"{COLLECTOR}/token",
    "userinfo_endpoint": f"{COLLECTOR}/me",
    "revocation_endpoint": f"{COLLECTOR}/revoke",
    "api_base_url": f"{COLLECTOR}/api",
}
_GENERIC = {
    "BACKEND": "connected_accounts.providers.generic.OAuth2",
    "CLIENT_ID": "site",
    "CLIENT_SECRET": CLIENT_SECRET,
}
CONNECTED_ACCOUNTS = {
    "PROVIDERS": {
        "acme": {**_GENERIC, "OPTIONS": _OAUTH2},
        "weibo": {**_GENERIC, "OPTIONS": {**_OAUTH2, "bearer_method": "query"}},
        "bits": {
            "BACKEND": "connected_accounts.providers.bits.Bits",
            "OPTIONS": {"api_base": COLLECTOR},
        },
    }
}
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": FOLDER / "site.log"},
        "mail_admins": {"class": "django.utils.log.AdminEmailHandler", "include_html": True},
    },
    "root": {"handlers": ["file"], "level": "INFO"},
    "loggers": {"django": {"handlers": ["mail_admins"], "level": "INFO"}},
}

# --- one tool -----------------------------------------------------------------------------------

OURS = re.compile(r"^/connections/")

if TOOL.startswith("sentry"):
    import sentry_sdk

    from connected_accounts.contrib.sentry import (
        before_send,
        before_send_log,
        before_send_transaction,
    )

    options: dict[str, Any] = {"traces_sample_rate": 1.0}
    if TOOL == "sentry-all":
        options |= {"send_default_pii": True, "attach_stacktrace": True, "add_full_stack": True}
        options |= {"enable_logs": True, "max_request_body_size": "always"}
    if RECIPE:
        options |= {
            "before_send": before_send,
            "before_send_transaction": before_send_transaction,
            "before_send_log": before_send_log,
        }
    sentry_sdk.init(dsn=COLLECTOR.replace("://", "://key@") + "/1", **options)

elif TOOL == "elastic":
    INSTALLED_APPS += ["elasticapm.contrib.django"]
    ELASTIC_APM = {
        "SERVICE_NAME": "site",
        "SERVER_URL": COLLECTOR,
        "CENTRAL_CONFIG": False,
        "METRICS_INTERVAL": "0s",
        "API_REQUEST_TIME": "500ms",
    }
    LOGGING["handlers"]["elastic"] = {
        "class": "elasticapm.contrib.django.handlers.LoggingHandler",
        "level": "WARNING",
    }
    LOGGING["root"]["handlers"].append("elastic")
    if RECIPE:
        ELASTIC_APM |= {
            "PROCESSORS": [
                "tests.tools.recipes.cut_elastic",
                "elasticapm.processors.sanitize_stacktrace_locals",
                "elasticapm.processors.sanitize_http_request_cookies",
                "elasticapm.processors.sanitize_http_headers",
                "elasticapm.processors.sanitize_http_wsgi_env",
                "elasticapm.processors.sanitize_http_request_body",
            ]
        }

elif TOOL == "silk":
    INSTALLED_APPS += ["silk"]
    MIDDLEWARE.insert(0, "silk.middleware.SilkyMiddleware")
    if RECIPE:
        SILKY_INTERCEPT_FUNC = lambda request: not OURS.match(request.path)  # noqa: E731

elif TOOL == "easy-audit":
    INSTALLED_APPS += ["easyaudit"]
    MIDDLEWARE += ["easyaudit.middleware.easyaudit.EasyAuditMiddleware"]
    if RECIPE:
        DJANGO_EASY_AUDIT_UNREGISTERED_URLS_EXTRA = [OURS.pattern]
        DJANGO_EASY_AUDIT_UNREGISTERED_CLASSES_EXTRA = [
            f"connected_accounts.{name}"
            for name in (
                *("ConnectedAccount", "Revocation", "ProviderClient"),
                *("AuthorizationRequest", "LedgerEntry"),
            )
        ]

elif TOOL == "structlog":
    import structlog

    from tests.tools.recipes import cut_query

    INSTALLED_APPS += ["django_structlog"]
    MIDDLEWARE.insert(0, "django_structlog.middlewares.RequestMiddleware")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([cut_query] if RECIPE else []),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )

elif TOOL == "axes":
    INSTALLED_APPS += ["axes"]
    MIDDLEWARE += ["axes.middleware.AxesMiddleware"]
    AUTHENTICATION_BACKENDS = [
        "axes.backends.AxesStandaloneBackend",
        "django.contrib.auth.backends.ModelBackend",
    ]

elif TOOL == "debug-toolbar":
    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
    DEBUG_TOOLBAR_CONFIG = {
        "TOOLBAR_STORE_CLASS": "debug_toolbar.store.DatabaseStore",
        "SHOW_TOOLBAR_CALLBACK": (
            "tests.tools.recipes.show_toolbar" if RECIPE else lambda request: True
        ),
    }

elif TOOL == "histories":
    INSTALLED_APPS += ["simple_history", "reversion"]
    MIDDLEWARE += [
        "simple_history.middleware.HistoryRequestMiddleware",
        "tests.tools.recipes.Revisions" if RECIPE else "reversion.middleware.RevisionMiddleware",
    ]
