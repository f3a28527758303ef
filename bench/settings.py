"""Settings of the measured site: the example site's, with more from the environment."""

import sys
from os import environ as env

if env.get("DATABASE_URL", "").startswith("mysql"):
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()

from example_project.settings import *  # noqa: F403
from example_project.settings import CONNECTED_ACCOUNTS, LOGGING

for name in ("REFRESH_CONCURRENCY", "HTTP_DEADLINE", "HTTP_TIMEOUT"):
    if f"BENCH_{name}" in env:
        CONNECTED_ACCOUNTS[name] = int(env[f"BENCH_{name}"])
CONNECTED_ACCOUNTS["SITE_ID"] = env.get("BENCH_SITE_ID", "https://site.example")
if "BENCH_MAX_REQUESTS_PER_SECOND" in env:
    CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]["MAX_REQUESTS_PER_SECOND"] = float(  # type: ignore[index]
        env["BENCH_MAX_REQUESTS_PER_SECOND"]
    )
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# What a site may set for all of its tasks and workers.
for name in ("TASK_TIME_LIMIT", "TASK_SOFT_TIME_LIMIT", "WORKER_SOFT_SHUTDOWN_TIMEOUT"):
    if f"BENCH_{name}" in env:
        globals()[f"CELERY_{name}"] = float(env[f"BENCH_{name}"])
CELERY_WORKER_POOL_START_METHOD = env.get("BENCH_WORKER_POOL_START_METHOD", "fork")
LOGGING["handlers"] = {"console": {"class": "logging.StreamHandler", "stream": sys.stderr}}
