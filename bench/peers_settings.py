"""One Django project with all contenders in it, on DATABASE_URL and BENCH_STUB_URL."""

import os

import dj_database_url

STUB = os.environ.get("BENCH_STUB_URL", "http://127.0.0.1:9")
CLIENT = {"client_id": "bench-client", "secret": "bench-client-secret-0123456789"}

SECRET_KEY = "only for the benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "bench.peers_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/done/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "connected_accounts",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.gitea",
    "social_django",
    "bench.plain",
]
# What every contender's requests pass.
COMMON_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ALLAUTH_MIDDLEWARE = "allauth.account.middleware.AccountMiddleware"
# allauth does not start without its own; the others' handlers are built without it.
MIDDLEWARE = [*COMMON_MIDDLEWARE, ALLAUTH_MIDDLEWARE]
SILENCED_SYSTEM_CHECKS = ["account.W001"]
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
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "social_core.backends.gitea.GiteaOAuth2",
]

# --- ours ---
FIELD_ENCRYPTION_KEY = ["b25seS1mb3ItdGhlLWJlbmNobWFya3MtMDEyMzQ1Njc="]
GITEA = {
    "BACKEND": "connected_accounts.providers.generic.OAuth2",
    "CLIENT_ID": CLIENT["client_id"],
    "CLIENT_SECRET": CLIENT["secret"],
    "SCOPES": ["read", "write"],
    "OPTIONS": {
        "name": "Gitea",
        "authorization_endpoint": f"{STUB}/login/oauth/authorize",
        "token_endpoint": f"{STUB}/login/oauth/access_token",
        "userinfo_endpoint": f"{STUB}/api/v1/user",
        "subject_path": "id",
    },
}
CONNECTED_ACCOUNTS = {
    "REDIRECT_BASE_URL": "http://127.0.0.1:8000",  # as the quickstart advises
    "PROVIDERS": {"gitea": GITEA},
    "REFRESH_CONCURRENCY": int(os.environ.get("BENCH_CONCURRENCY", "64")),
}
CELERY_BROKER_URL = "memory://"

# --- allauth ---
SOCIALACCOUNT_STORE_TOKENS = True
SOCIALACCOUNT_PROVIDERS = {"gitea": {"APP": CLIENT | {"key": ""}, "GITEA_URL": STUB}}
ACCOUNT_EMAIL_VERIFICATION = "none"

# --- social-auth ---
SOCIAL_AUTH_GITEA_API_URL = STUB
SOCIAL_AUTH_GITEA_KEY = CLIENT["client_id"]
SOCIAL_AUTH_GITEA_SECRET = CLIENT["secret"]
SOCIAL_AUTH_GITEA_SCOPE = ["read", "write"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
