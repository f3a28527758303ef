"""An empty project that has the app from an installed wheel, and nothing of the source tree.

``python -I empty_site.py DATABASE…``, with DATABASE one of sqlite, postgresql and mariadb, in an
environment that has the wheel, psycopg and pymysql; ``--extras`` where it has all extras and pytest
too. For each: ``startproject``, the app's settings,
``check``, ``migrate``, ``makemigrations --check``, every module imported, and the pages asked for
as a browser does. ``DATABASE_URL`` names another PostgreSQL than the one on this machine.
"""

import argparse
import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Packages of the extras, and pytest. A module that needs one that is absent says so when imported.
OPTIONAL = {
    "prometheus_client",
    "health_check",
    "httpx",
    "httpx2",
    "rest_framework",
    "pytest",
    "joserfc",
}
SETTINGS = """
INSTALLED_APPS += ["connected_accounts"]
FIELD_ENCRYPTION_KEY = ["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="]
CONNECTED_ACCOUNTS = {
    "PROVIDERS": {
        "badgr": {
            "BACKEND": "connected_accounts.providers.badgr.Badgr",
            "CLIENT_ID": "client",
            "CLIENT_SECRET": "client-secret",
        },
    },
}
"""
MARIADB = """
import pymysql

pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
pymysql.install_as_MySQLdb()
"""
URLS = """
from django.urls import include

urlpatterns += [path("connections/", include("connected_accounts.urls"))]
"""


@contextmanager
def postgresql(name: str) -> Iterator[dict[str, object]]:
    import psycopg

    given = os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    with psycopg.connect(given, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        parts = urlsplit(given)
        yield {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
        }
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def mariadb(name: str) -> Iterator[dict[str, object]]:
    import pymysql

    server = pymysql.connect(host="127.0.0.1", user="root", autocommit=True)
    with server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        yield {
            "ENGINE": "django.db.backends.mysql",
            "NAME": name,
            "HOST": "127.0.0.1",
            "USER": "root",
        }
        cursor.execute(f"DROP DATABASE `{name}`")


@contextmanager
def sqlite(name: str) -> Iterator[dict[str, object]]:
    yield {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{name}.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }


DATABASES = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


def python(*arguments: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout}")


def make_project(folder: Path, kind: str, database: dict[str, object]) -> None:
    python("-I", "-m", "django", "startproject", "yoursite", str(folder), folder=folder)
    with (folder / "yoursite" / "settings.py").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS + (MARIADB if kind == "mariadb" else ""))
        settings.write(f'\nDATABASES = {{"default": {database!r}}}\n')
    with (folder / "yoursite" / "urls.py").open("a", encoding="utf-8") as urls:
        urls.write(URLS)


def import_everything() -> tuple[int, list[str]]:
    """How many modules were imported, and those whose extra is not installed."""
    import connected_accounts

    count, absent = 0, []
    for module in pkgutil.walk_packages(connected_accounts.__path__, "connected_accounts."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if str(error.name).split(".")[0] not in OPTIONAL:
                raise
            absent.append(module.name)
        else:
            count += 1
    return count, absent


def assert_installed() -> None:
    """The package is the installed one, and the source tree is not to be had."""
    import connected_accounts

    home = Path(connected_accounts.__file__).resolve()
    assert home.is_relative_to(Path(sysconfig.get_path("purelib")).resolve()), home
    for name in ("example_project", "tests", "bench"):
        assert importlib.util.find_spec(name) is None, f"{name} can be imported"


def look_inside(kind: str, extras: bool) -> None:
    """In a process of its own, in the project's folder: imports, pages, styles, translations."""
    sys.path.insert(0, os.getcwd())
    os.environ["DJANGO_SETTINGS_MODULE"] = "yoursite.settings"
    import django

    django.setup()
    assert_installed()
    count, absent = import_everything()
    assert not (extras and absent), absent

    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles import finders
    from django.test import Client
    from django.utils import translation

    visitor = Client()
    visitor.force_login(get_user_model().objects.create_user("visitor"))
    for address in ("/connections/", "/connections/badgr/connect/"):
        assert visitor.get(address, headers={"host": "localhost"}).status_code == 200, address
    assert finders.find("connected_accounts/connected_accounts.css")
    for language in ("de", "fr", "es"):
        with translation.override(language):
            assert translation.gettext("Your connections") != "Your connections", language
    versions = f"Python {sys.version.split()[0]}, Django {django.__version__}, {kind}"
    print(f"{versions}: {count} modules imported, {len(absent)} want a package that is not there")


def try_on(kind: str, extras: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="empty-site-") as place:
        folder = Path(place)
        with DATABASES[kind](f"empty_site_{uuid.uuid4().hex[:12]}") as database:
            make_project(folder, kind, database)
            for command in (
                ["check", "--fail-level", "WARNING"],
                ["migrate", "--verbosity", "0"],
                ["check", "--database", "default", "--fail-level", "WARNING"],
                ["makemigrations", "--check", "--dry-run"],
                ["migrate", "--check"],
            ):
                python("manage.py", *command, folder=folder)
            inside = [sys.executable, "-I", __file__, "--inside", kind]
            inside += ["--extras"] if extras else []
            if subprocess.run(inside, cwd=folder, check=False).returncode:
                sys.exit(f"{kind}: the project does not work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", metavar="DATABASE", help=", ".join(DATABASES))
    parser.add_argument("--extras", action="store_true", help="all extras and pytest are there")
    parser.add_argument("--inside", choices=DATABASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        look_inside(options.inside, options.extras)
        return
    assert_installed()
    for kind in options.databases or DATABASES:
        try_on(kind, options.extras)


if __name__ == "__main__":
    main()
