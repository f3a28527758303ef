"""The site of the tests, with packages that keep the history of rows."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

_ON_POSTGRESQL = DATABASES["default"]["ENGINE"].endswith("postgresql")
INSTALLED_APPS = [
    *INSTALLED_APPS,
    "simple_history",
    "reversion",
    "import_export",
    *(["pgtrigger", "pghistory"] if _ON_POSTGRESQL else []),
    "tests.models.histories.site",
]
MIDDLEWARE = [*MIDDLEWARE, "simple_history.middleware.HistoryRequestMiddleware"]
EXCLUDED = os.environ.get("HISTORIES_EXCLUDE", "")
