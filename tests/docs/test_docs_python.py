"""The examples in Python are run: with a signed-in user, and the testing kit's providers."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import prometheus_client
import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory

from connected_accounts import signals
from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import Answer, FakeProvider, RecordedRequest
from connected_accounts.testing.badgr import BadgrDialect
from example_project.teams.models import Membership, Team
from tests.docs.doc_pages import BADGE_CLIENTS, DOCS, FOLLOWED, ROOT, TEXTS, blocks
from tests.docs.doc_python import Page, write

ELSEWHERE = (FOLLOWED, BADGE_CLIENTS)
RUN = [path for path in TEXTS if path not in ELSEWHERE and blocks(path, "python")]
# Templates of a site's own that the examples name.
TEMPLATES = {
    "badges.html": "{{ badges }}",
    "backpack.html": "{{ request.connected_account }}",
    "try_later.html": "later",
}


class WithBadges(BadgrDialect):
    def api(self, request: RecordedRequest) -> Answer:
        known = self.server.by_access_token(request.bearer) is not None
        return Answer(json={"result": []}) if known else self.bearer_refusal()


@pytest.fixture
def site(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a site, whose modules and templates are found."""
    for name, text in TEMPLATES.items():
        (tmp_path / "templates").mkdir(exist_ok=True)
        (tmp_path / "templates" / name).write_text(text)
    own = {"DIRS": [tmp_path / "templates"]}
    settings.TEMPLATES = [settings.TEMPLATES[0] | own]
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "yoursite"]:
        del sys.modules[name]


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    """What an example registers in this process is gone afterwards."""
    ours = [member for member in vars(signals).values() if hasattr(member, "receivers")]
    receivers = [[*signal.receivers] for signal in ours]
    collectors = set(prometheus_client.REGISTRY._collector_to_names)
    waiting = {key: [*operations] for key, operations in apps._pending_operations.items()}
    admins = {**admin.site._registry}
    yield
    admin.site._registry.clear()
    admin.site._registry.update(admins)
    # Those that wait for a model of yoursite.
    apps._pending_operations.clear()
    apps._pending_operations.update(waiting)
    for signal, before in zip(ours, receivers, strict=True):
        signal.receivers = before
        signal.sender_receivers_cache.clear()
    for collector in set(prometheus_client.REGISTRY._collector_to_names) - collectors:
        prometheus_client.REGISTRY.unregister(collector)


@pytest.fixture
def given(
    settings: Any,
    ada: Any,
    fake_provider: Callable[..., FakeProvider],
    connected_account: Callable[..., ConnectedAccount],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """What the examples take for granted: somebody is signed in and has connected accounts."""
    bits = {
        "BACKEND": "connected_accounts.providers.bits.Bits",
        "CLIENT_ID": "bits-client",
        "CLIENT_SECRET": "bits-secret",
    }
    google = {"SERVICE": "google", "CLIENT_ID": "google-client", "CLIENT_SECRET": "google-secret"}
    known = settings.CONNECTED_ACCOUNTS["PROVIDERS"]
    providers = known | {"bits": bits, "google": google}
    owners = "example_project.teams.owners.owners_of"
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": providers, "OWNERS": owners}
    team = Team.objects.create(pk=7, name="Guild")
    Membership.objects.create(team=team, user=ada, is_lead=True)
    badgr = fake_provider("badgr", dialect=WithBadges)
    account = connected_account("badgr", ada, label="ada@work.example")
    connected_account("badgr", None, subject="the-site")
    connected_account("badgr", ada, subject="the-guild", owner=team.owner_key)
    fake_provider("bits").add_client("bits-client", "bits-secret", subject="the-site")
    connected_account("bits", None)
    fake_provider("google").script("api", Answer(200, json={"items": []}))
    connected_account("google", ada)

    async def answer(transport: Any, request: httpx.Request) -> httpx.Response:
        token = badgr.grants[0].access_token
        good = request.headers.get("Authorization") == f"Bearer {token}"
        return httpx.Response(200 if good else 401, json={"result": []}, request=request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    request: Any = RequestFactory().get("/backpack/")
    request.user, request.session, request.connected_account = ada, {}, account
    account.user = ada
    ada.profile = SimpleNamespace(language="de")  # as a site may keep it
    return {
        "request": request,
        "user": ada,
        "account": account,
        "sender": ConnectedAccount,
        "instance": team,
        "team_id": team.pk,
        "reason": "revoked",
        "award": {},
        "connection": connection,
    }


@pytest.fixture
def app_user() -> Iterator[None]:
    """A setting of a session, which an example reads: PostgreSQL alone has them."""

    def with_value(execute: Any, sql: str, *args: Any) -> Any:
        return execute(sql.replace("current_setting('app.user', true)", "'7'"), *args)

    if connection.vendor == "postgresql":
        yield
    else:
        with connection.execute_wrapper(with_value):
            yield


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nothing_stays", "app_user")
@pytest.mark.parametrize("path", RUN, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_page_run(
    path: Path,
    site: Path,
    given: dict[str, Any],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = Page(site, given, setenv=monkeypatch.setenv, changed=settings)
    for block in blocks(path, "python"):
        if block.runs:
            page.run(block)


# Examples that are tests.


def test_the_example_tests_of_a_site_pass(tmp_path: Path) -> None:
    page = DOCS / "how-to/test-your-site.md"
    (tmp_path / "yoursite").mkdir()
    (tmp_path / "yoursite/settings.py").write_text(
        "from example_project.settings import *\nROOT_URLCONF = 'yoursite.urls'\n"
    )
    for block in blocks(page, "python", "ini"):
        if block.title:
            write(tmp_path, block)
    (example,) = [block for block in blocks(page, "python") if block.title.startswith("tests/")]
    passed(tmp_path, "pytest.ini", example.text.count("\ndef test_"))


def test_the_example_tests_of_a_provider_pass(tmp_path: Path) -> None:
    theirs = ROOT / "example_project/tests"
    shutil.copytree(theirs / "recordings", tmp_path / "tests/recordings")
    for block in blocks(DOCS / "how-to/write-a-provider.md", "python", "json"):
        if block.title and not block.title.endswith("settings.py"):
            write(tmp_path, block)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = example_project.settings\npythonpath = .\n"
    )
    passed(tmp_path, "pytest.ini", 20)


def passed(folder: Path, ini: str, at_least: int) -> None:
    mine = ("PYTEST_", "DJANGO_", "CONNECTED_ACCOUNTS_", "DATABASE_URL", "CELERY_BROKER_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ini, "tests"],
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    counted = re.search(r"(\d+) passed", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= at_least > 0
    assert "skipped" not in done.stdout
