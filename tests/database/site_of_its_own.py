"""A site with a user model of its own, in a process of its own."""

import os
import subprocess
import sys

import dj_database_url
import django
import pymysql
from django.conf import settings

import tests.settings
from tests.docs.doc_pages import ROOT


def run_site(module: str, *arguments: str) -> None:
    """Run a module of this folder, which says "done" at its end."""
    command = [sys.executable, "-m", f"tests.database.{module}", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def configure(url: str, app: str, model: str) -> None:
    """Django on that database, with a user model of an app of this folder."""
    values = {name: value for name, value in vars(tests.settings).items() if name.isupper()}
    values["DATABASES"] = {"default": dj_database_url.parse(url)}
    values["INSTALLED_APPS"] = [
        f"tests.database.{app}",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "connected_accounts",
    ]
    values["AUTH_USER_MODEL"] = f"{app}.{model}"
    pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()
    settings.configure(**values)
    django.setup()
