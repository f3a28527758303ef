"""Settings of the processes beside a test: the tests', with its providers and a real broker."""

import json
from os import environ as env

from tests.settings import *  # noqa: F403

CONNECTED_ACCOUNTS = json.loads(env["SITE_SETTINGS"])
CELERY_BROKER_URL = env["CELERY_BROKER_URL"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = True
