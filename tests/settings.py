"""Settings of the tests: the example site's, with nothing taken from the environment but the
database's address. ``PROVIDERS`` has real hosts, which no test reaches."""

import atexit
import shutil
import tempfile

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, SQLITE

if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()

ROOT_URLCONF = "tests.urls"
SECRET_KEY = "only for the tests"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
# No test is about the strength of a password's hash.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"] == SQLITE:
    # A file, as a site has one: connections of several threads to a database in memory lock each
    # other out in ways of their own. A folder for each process, so for each of xdist's workers.
    folder = tempfile.mkdtemp(prefix="connected-accounts-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    DATABASES["default"]["TEST"] = {"NAME": f"{folder}/test.sqlite3"}

# Tests run tasks with .apply(), and start a worker where they are about one. What is sent stays in
# this process.
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, str] = {}
CELERY_TASK_ALWAYS_EAGER = False

# Django 6.1 wants to be told; earlier ones know no such setting.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

FIELD_ENCRYPTION_KEY = ["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="]
CONNECTED_ACCOUNTS = {
    "PROVIDERS": {
        "badgr": {
            "BACKEND": "connected_accounts.providers.badgr.Badgr",
            "CLIENT_ID": "badgr-client",
            "CLIENT_SECRET": "badgr-client-secret",
            "SCOPES": ["r:profile", "r:backpack"],
            "OPTIONS": {"region": "us"},
        },
        "bitbadges": {
            "BACKEND": "connected_accounts.providers.bitbadges.BitBadges",
            "CLIENT_ID": "bitbadges-client",
            "CLIENT_SECRET": "bitbadges-client-secret",
            "SCOPES": ["readProfile"],
        },
    },
}
