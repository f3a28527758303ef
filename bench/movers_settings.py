"""A site that has the other packages' connections and moves them here: all of them installed, with
the stub's address in BENCH_STUB_URL and a database in DATABASE_URL."""

import os

import dj_database_url

if os.environ.get("DATABASE_URL", "").startswith("mysql"):
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()

STUB = os.environ.get("BENCH_STUB_URL", "http://127.0.0.1:9")
CLIENT_ID, CLIENT_SECRET = "mover-client", "mover-client-secret"
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the stub is on the loopback address

SECRET_KEY = "only for a site that moves"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "bench.movers_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LOGIN_URL = "/login/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": dj_database_url.parse(os.environ.get("DATABASE_URL", "sqlite://:memory:"))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}  # type: ignore[typeddict-unknown-key]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "connected_accounts",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.gitea",
    "social_django",
    "oauth2_capture",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
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

FIELD_ENCRYPTION_KEY = ["b25seS1mb3ItYS1zaXRlLXRoYXQtbW92ZXMtMDEyMzQ="]
CONNECTED_ACCOUNTS = {
    "PROVIDERS": {
        "gitea": {
            "BACKEND": "connected_accounts.providers.generic.OAuth2",
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            "SCOPES": ["read", "write"],
            "OPTIONS": {
                "name": "Gitea",
                "authorization_endpoint": f"{STUB}/login/oauth/authorize",
                "token_endpoint": f"{STUB}/login/oauth/access_token",
                "userinfo_endpoint": f"{STUB}/api/v1/user",
                "subject_path": "id",
            },
        },
    },
}
CELERY_BROKER_URL = "memory://"

OAUTH2_CONFIG = {
    "gitea": {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scope": "read write"},
}
SOCIALACCOUNT_STORE_TOKENS = True
SOCIALACCOUNT_PROVIDERS = {"gitea": {"GITEA_URL": STUB}}
ACCOUNT_EMAIL_VERIFICATION = "none"
SOCIAL_AUTH_GITEA_API_URL = STUB
SOCIAL_AUTH_GITEA_KEY = CLIENT_ID
SOCIAL_AUTH_GITEA_SECRET = CLIENT_SECRET
SOCIAL_AUTH_GITEA_SCOPE = ["read", "write"]
