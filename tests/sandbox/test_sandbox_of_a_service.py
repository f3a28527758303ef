"""``manage.py sandbox SERVICE``: a service of the catalogue over HTTP, before there is a client."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.core.management import CommandError, call_command

from connected_accounts.exceptions import AuthorizationDenied, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.catalogue.services import service, service_names
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    complete_authorization,
    disconnect,
    get_access_token,
    get_session,
    refresh,
    start_authorization,
)
from connected_accounts.testing.catalogue import recorded_answers
from connected_accounts.testing.sandbox import HOST, NAME, Sandbox

ROOT = Path(__file__).resolve().parents[2]
CALLBACK = "https://site.example/callback/"
PLAYED = [name for name in service_names() if recorded_answers(name)]
WITH_CODES = [
    name for name in PLAYED if (one := service(name)) is not None and one.refresh != "again"
]

pytestmark = pytest.mark.django_db


def agree(
    user: Any, base: str, alias: str, *, answer: str = "allow", subject: str = "grace"
) -> ConnectedAccount:
    """Go the whole way as a browser does."""
    secret = new_secret()
    names = get_provider(alias).connect_fields
    url = start_authorization(
        user=user,
        provider=alias,
        redirect_uri=CALLBACK,
        browser_secret=secret,
        inputs={name: HOST if name == "host" else NAME for name in names},
    )
    assert url.startswith(f"{base}/")
    page = requests.get(url, timeout=5)
    assert (page.status_code, "Allow" in page.text) == (200, True)
    form = {"answer": answer, "subject": subject}
    back = requests.post(url, data=form, timeout=5, allow_redirects=False)
    assert back.status_code == 303
    params = dict(parse_qsl(urlsplit(back.headers["Location"]).query))
    return complete_authorization(
        user=user, provider=alias, browser_secret=secret, params=params
    ).account


@pytest.fixture
def sandbox_of(settings: Any) -> Iterator[Any]:
    running: list[Sandbox] = []

    def start(name: str, **options: Any) -> Sandbox:
        sandbox = Sandbox(name, **options)
        running.append(sandbox.__enter__())
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"one": sandbox.entry()}}
        return sandbox

    yield start
    for sandbox in running:
        sandbox.__exit__()


@pytest.mark.parametrize("name", WITH_CODES)
def test_the_whole_life_of_a_connection_is_lived_at_any_service(
    sandbox_of: Any, user: Any, name: str
) -> None:
    heard: list[str] = []
    sandbox = sandbox_of(name, say=heard.append)
    account = agree(user, sandbox.base, "one")
    nameless = service(name).options.get("identity_source") == "none"  # type: ignore[union-attr]
    named = str(urlsplit(sandbox.base).hostname) if nameless else "grace"
    assert account.subject.endswith(named)
    assert get_session(account).get("anything").json() == {"sandbox": "grace"}
    if account.refresh_at is not None and account.is_renewable:
        before = get_access_token(account)
        refresh(account)
        assert get_access_token(account) != before
    row = disconnect(account)
    revoke_pending()
    assert row is not None
    row.refresh_from_db()
    can = service(name).options.get("revocation_endpoint")  # type: ignore[union-attr]
    assert row.outcome == (Outcome.REVOKED if can else Outcome.UNSUPPORTED)
    assert "grace allowed it" in heard


def test_a_person_may_say_no(sandbox_of: Any, user: Any) -> None:
    sandbox = sandbox_of("github")
    with pytest.raises(AuthorizationDenied):
        agree(user, sandbox.base, "one", answer="deny")


def test_grants_can_be_withdrawn_there(sandbox_of: Any, user: Any) -> None:
    sandbox = sandbox_of("strava")
    account = agree(user, sandbox.base, "one", subject="<b>ada</b>")
    page = requests.get(f"{sandbox.base}/", timeout=5).text
    assert "&lt;b&gt;ada&lt;/b&gt;: alive" in page
    requests.post(f"{sandbox.base}/", data={"answer": "withdraw"}, timeout=5)
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert "ended" in requests.get(f"{sandbox.base}/", timeout=5).text


def test_a_short_life_can_be_asked_for(sandbox_of: Any, user: Any) -> None:
    sandbox = sandbox_of("google", access_token_seconds=300)
    account = agree(user, sandbox.base, "one")
    assert account.expires_at is not None
    assert (account.expires_at - account.connected_at).total_seconds() <= 300


@pytest.mark.parametrize("path", ["/elsewhere.example/x", "/github.com/none", "//github.com"])
def test_what_is_not_at_the_service_is_not_there(sandbox_of: Any, path: str) -> None:
    sandbox = sandbox_of("github")
    assert requests.get(f"{sandbox.base}{path}", timeout=5).status_code in (401, 404)


def test_a_wrong_redirect_gets_a_page_and_no_redirect(sandbox_of: Any) -> None:
    sandbox = sandbox_of("github")
    url = f"{sandbox.base}/github.com/login/oauth/authorize?client_id=other&redirect_uri=x"
    back = requests.post(url, data={"answer": "allow"}, timeout=5, allow_redirects=False)
    assert back.status_code == 400
    assert "Location" not in back.headers


@pytest.mark.parametrize(
    ("name", "said"), [("githb", "github"), ("zzzz", "no service"), ("badgr", "no recorded")]
)
def test_another_name_is_refused_with_what_to_do(name: str, said: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("sandbox", name)
    assert said in str(caught.value)


def test_the_command_prints_what_to_write_and_serves_it(settings: Any, user: Any) -> None:
    command = [sys.executable, "-u", "manage.py", "sandbox", "github", "--port", "0"]
    ran = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert ran.stdout is not None
        said = ""
        while "enter acme" not in said:
            line = ran.stdout.readline()
            assert line, said
            said += line
        [written] = re.findall(r"^\{.*?\}\}\}$", said, re.DOTALL | re.MULTILINE)
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": ast.literal_eval(written)}
        base = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        account = agree(user, base, "github")
        assert (account.label, account.scopes_granted) == ("grace", ["read:user"])
    finally:
        ran.terminate()
        ran.wait(10)
        ran.stdout and ran.stdout.close()


@pytest.mark.parametrize("name", ["github", "google", "strava", "slack", "zendesk"])
def test_check_provider_looks_at_a_service_as_at_any_other(
    sandbox_of: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox_of(name)
    inputs = [("subdomain", "acme")] if name == "zendesk" else []
    call_command("check_provider", "one", "--json", input=inputs)
    told = json.loads(capsys.readouterr().out)
    levels = {finding["check"]: finding["level"] for finding in told["findings"]}
    assert "error" not in levels.values()
    assert levels["credentials"] == levels["token_endpoint"] == "ok"
    assert not any("{" in finding["message"] for finding in told["findings"])


def test_its_api_confirms_the_key_of_a_bound_token_and_refuses_a_thief(
    user: Any, sandbox_of: Any, settings: Any
) -> None:
    sandbox = sandbox_of("gitlab")
    entry = sandbox.entry()
    bound = {**entry, "OPTIONS": {**entry["OPTIONS"], "dpop": True}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"gitlab": bound}}
    account = agree(user, sandbox.base, "gitlab")
    api = f"{sandbox.base}/gitlab.com/api/v4/projects"
    assert get_session(account).get(api).json() == {"sandbox": "grace"}
    refresh(account)
    assert get_session(account).get(api).status_code == 200
    token = get_access_token(account)
    for scheme in ("Bearer", "DPoP"):
        stolen = {"Authorization": f"{scheme} {token}"}
        assert requests.get(api, headers=stolen, timeout=5).status_code == 401
