"""Fifty identical callbacks at once, by HTTP to two processes of a site on PostgreSQL."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import urlsplit

import pytest
import requests

from example_project.browser import Browser
from tests.site import ROOT, Site, running_site

pytestmark = pytest.mark.postgres

CALLBACKS = 50
PUBLIC = "http://127.0.0.1:8000"
SERVE = """
from waitress.server import create_server
from example_project.wsgi import application
server = create_server(application, host="127.0.0.1", port=0, threads=30)
print(server.effective_port, flush=True)
server.run()
"""
VISITOR = """
import django; django.setup()
from django.contrib.auth.models import User
User.objects.create_user("fifty", password="fifty")
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        running.environment["REDIRECT_BASE_URL"] = PUBLIC
        yield running


@pytest.fixture
def addresses(site: Site) -> Iterator[list[str]]:
    """Two processes of the site."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=ROOT,
            env=site.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        yield [f"http://127.0.0.1:{process.stdout.readline().strip()}" for process in processes]  # type: ignore[union-attr]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]


def begin(address: str) -> tuple[str, str]:
    """A person signs in, connects and agrees; the callback's query and the cookies it needs."""
    visitor = Browser()
    visitor.open(f"{address}/accounts/login/?next=/connections/badgr/connect/")
    visitor.send(visitor.page.form(control="password"), username="fifty", password="fifty")
    form = next(f for f in visitor.page.forms if f.action.endswith("/badgr/connect/"))
    session = visitor.session
    headers = {"Referer": address}
    sent = session.post(form.action, data=form.fields, headers=headers, allow_redirects=False)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    owner = Browser()
    owner.open(sent.headers["Location"])
    owner.send(owner.page.form(control="password"), username="ada", password="ada")
    consent = owner.page.form(control="allow")
    data = consent.fields | {"allow": "true"}
    back = owner.session.post(consent.action, data=data, allow_redirects=False)
    return urlsplit(back.headers["Location"]).query, cookies


def test_fifty_identical_callbacks_make_one_exchange(site: Site, addresses: list[str]) -> None:
    site.run("-c", VISITOR)
    query, cookies = begin(addresses[0])
    before = site.state()["token_requests"]["authorization_code"]
    barrier = Barrier(CALLBACKS)

    def come_back(number: int) -> int:
        address = f"{addresses[number % 2]}/connections/badgr/callback/?{query}"
        barrier.wait(timeout=60)
        headers = {"Cookie": cookies}
        answer = requests.get(address, headers=headers, allow_redirects=False, timeout=120)
        return answer.status_code

    with ThreadPoolExecutor(CALLBACKS) as pool:
        answers = Counter(pool.map(come_back, range(CALLBACKS)))
    assert answers == {303: 1, 400: CALLBACKS - 1}
    assert site.state()["token_requests"]["authorization_code"] == before + 1
    made = site.sql(
        "SELECT count(*) FROM connected_accounts_connectedaccount a JOIN auth_user u"
        " ON u.id = a.user_id WHERE u.username = 'fifty'"
    )
    assert made == [(1,)]
