"""Junk of every kind from everybody who may send some: never a 500, and nothing stored beyond its
size.

``make fuzz`` sends a hundred thousand of each and prints how they were answered;
``CONNECTED_ACCOUNTS_FUZZ_EXAMPLES`` says how many, ``PYTEST_ARGS='--hypothesis-seed=N'`` repeats a
run.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connected_accounts.conf import is_safe_url
from connected_accounts.connect.next_page import MAX_NEXT
from connected_accounts.exceptions import ConnectedAccountsError, ProviderError
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Revocation
from connected_accounts.oauth2 import badge_manifest, discovery, transport
from connected_accounts.oauth2.id_token import MAX_SUBJECT
from connected_accounts.oauth2.token import MAX_SCOPE, MAX_SCOPES
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import disconnect, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from tests.journeys import query_of, start
from tests.junk import WORDS, Flow, inputs, send
from tests.people import Browser

EXAMPLES = int(os.environ.get("CONNECTED_ACCOUNTS_FUZZ_EXAMPLES", "60"))
HOST = "https://badges.example"
ISSUER = "https://login.example"
PAGES = (200, 303, 400, 401, 403, 404, 409, 413, 415, 429, 502)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]


def junk_given(strategy: Any) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Run a function with ``EXAMPLES`` values of the strategy."""

    def wrap(run: Callable[[Any], None]) -> Callable[[], None]:
        limited = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        return limited(given(strategy)(run))  # type: ignore[no-any-return]

    return wrap


# --- Junk ---------------------------------------------------------------------------------------

long = st.sampled_from(["x" * 2000, "x " * 5000, "\u202e" * 300, "https://e.example/" + "x" * 3000])
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=40), long)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 1e308, 2**63]))
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def documents(**right: Any) -> st.SearchStrategy[Any]:
    """Objects with these members, all but one or two right; or with some, each right or not."""
    odd = st.dictionaries(st.sampled_from(sorted(right)), anything, max_size=2)
    members = {name: st.one_of(st.just(value), anything) for name, value in right.items()}
    nearly = odd.map(lambda wrong: {**right, **wrong})
    return st.one_of(nearly, nearly, nearly, st.fixed_dictionaries({}, optional=members))


def bodies(document: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Such documents as bytes, cut short now and then; and bytes that are none."""
    whole = document.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    cut = st.builds(lambda body, at: body[:at], whole, st.integers(0, 200))
    return st.one_of(whole, whole, whole, whole, cut, st.binary(max_size=120))


TOKEN = documents(
    access_token="an-access-token",
    refresh_token="a-refresh-token",
    token_type="Bearer",
    expires_in=3600,
    scope="r:profile r:backpack",
    id_token="a.b.c",
    error="invalid_grant",
)
BADGR_PERSON = documents(
    status={"success": True}, result=[{"entityId": "person", "emails": [{"email": "a@b.c"}]}]
)
API = {f"{name}Url": f"{HOST}/{name}" for name in ("authorization", "token", "registration")}
MANIFEST = st.one_of(
    documents(
        id=HOST,
        badgeConnectAPI=[{**API, "apiBase": f"{HOST}/v2", "version": "v2p1", "scopesOffered": []}],
    ),
    documents(**API, apiBase=f"{HOST}/v2", scopesOffered=["a", "b"]).map(
        lambda entry: {"badgeConnectAPI": [entry]}
    ),
    documents(
        tokenUrl="badges.example/token",
        authorizationUrl=f"{HOST}/authorize",
        refreshUrl=f"{HOST}/token",
        scopes={"a": "b"},
    ).map(
        lambda flow: {
            "servers": [{"url": "/v3"}],
            "components": {
                "securitySchemes": {"OAuth2ACG": {"flows": {"authorizationCode": flow}}}
            },
        }
    ),
)
METADATA = documents(
    **{f"{name}_endpoint": f"{ISSUER}/{name}" for name in ("authorization", "token", "userinfo")},
    revocation_endpoint=f"{ISSUER}/revoke",
    code_challenge_methods_supported=["S256"],
    token_endpoint_auth_methods_supported=["client_secret_basic"],
    scopes_supported=["openid"],
    authorization_response_iss_parameter_supported=True,
).flatmap(lambda found: st.sampled_from([{**found, "issuer": ISSUER}] * 4 + [found]))


# --- What is looked at --------------------------------------------------------------------------


def assert_small() -> None:
    """No stored row has a value beyond its size."""
    for model in (ConnectedAccount, Event, Revocation, AuthorizationRequest):
        for row in model._base_manager.all():
            for field in model._meta.concrete_fields:
                value, limit = getattr(row, field.attname), getattr(field, "max_length", None)
                if isinstance(value, str) and isinstance(field, models.CharField):
                    assert limit is None or len(value) <= limit, field
            assert len(getattr(row, "subject", "")) <= MAX_SUBJECT
            assert len(getattr(row, "next", "")) <= MAX_NEXT
            scopes = getattr(row, "scopes_granted", [])
            assert len(scopes) <= MAX_SCOPES
            assert all(len(scope) <= MAX_SCOPE for scope in scopes)


@pytest.fixture
def browser(ada: Any) -> Browser:
    found = Browser(ada)
    found.raise_request_exception = False
    return found


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Iterator[Counter[Any]]:
    """How often each answer was given; printed where somebody looks."""
    counter: Counter[Any] = Counter()
    logging.disable(logging.CRITICAL)  # a hundred thousand lines are nobody's
    yield counter
    logging.disable(logging.NOTSET)
    told = ", ".join(f"{name}: {times}" for name, times in counter.most_common(12))
    print(f"{request.node.name}: {sum(counter.values())} inputs ({told})")


def test_junk_at_the_callback(browser: Browser, badgr: FakeProvider, seen: Counter[Any]) -> None:
    state = query_of(start(browser))["state"]
    cookies = browser.cookies
    flow = Flow(cookies["sessionid"].value, state, cookies["connected_accounts_token"].value)

    @junk_given(inputs(flow))
    def run(junk: Any) -> None:
        assert send(browser, junk, seen) in PAGES, junk

    run()
    assert_small()
    assert not ConnectedAccount.objects.exists()


def test_junk_in_the_body_of_the_json_api(
    browser: Browser, badgr: FakeProvider, seen: Counter[Any]
) -> None:
    body = documents(next="/after/", scopes=["rw:backpack"], inputs={}, owner="", x=1)

    @junk_given(bodies(body))
    def run(junk: bytes) -> None:
        url = "/api/connections/providers/badgr/connect/"
        answer = browser.generic("POST", url, junk, content_type="application/json")
        seen[answer.status_code] += 1
        assert answer.status_code in PAGES, junk
        if answer.status_code != 200:
            assert answer.json()["status"] == answer.status_code

    run()
    assert_small()


def test_junk_in_token_and_identity_answers(
    browser: Browser, ada: Any, badgr: FakeProvider, seen: Counter[Any]
) -> None:
    statuses = st.sampled_from([200] * 9 + [400, 401, 500])
    answers = st.tuples(statuses, bodies(TOKEN), statuses, bodies(BADGR_PERSON), st.booleans())

    @junk_given(answers)
    def run(junk: Any) -> None:
        status, token, then, identity, connects = junk
        for name in ("token", "identity"):
            badgr._scripts[name].clear()
        account = None if connects else connect_account(badgr, ada)
        badgr.script("token", Answer(status, body=token))
        badgr.script("identity", Answer(then, body=identity))
        if account is None:
            params = badgr.authorize(start(browser), subject="ada")
            answer = browser.get("/connections/badgr/callback/", params)
            seen[answer.status_code] += 1
            assert answer.status_code in PAGES, junk
        else:
            try:
                refresh(account)
                seen["refreshed"] += 1
            except ConnectedAccountsError as error:
                seen[type(error).__name__] += 1
        assert_small()
        for row in ConnectedAccount.objects.all():
            disconnect(row)
        for model in (Revocation, Event, AuthorizationRequest):
            model._base_manager.all().delete()  # type: ignore[attr-defined]

    run()


@pytest.fixture
def answer_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Every request is answered with this, and nothing is remembered of those before."""

    def answer(body: bytes) -> None:
        discovery.clear_cache()
        given = transport.Answer(200, {}, body)
        monkeypatch.setattr(transport, "fetch", lambda *args, **kwargs: given)

    return answer


def test_junk_in_manifests(answer_with: Any, seen: Counter[Any]) -> None:
    @junk_given(bodies(MANIFEST))
    def run(junk: bytes) -> None:
        answer_with(junk)
        try:
            found = badge_manifest.description(HOST, listed=[HOST], public=True)
        except ProviderError as error:
            seen[error.code] += 1
            return
        seen["read"] += 1
        assert len(found["scopes"]) <= MAX_SCOPES
        for name, url in found.items():
            assert name == "scopes" or not url or is_safe_url(url), junk

    run()


def test_junk_in_metadata(answer_with: Any, app_settings: Any, seen: Counter[Any]) -> None:
    backend = "connected_accounts.providers.generic.OAuth2"
    entry = {"BACKEND": backend, "CLIENT_ID": "c", "CLIENT_SECRET": "s"}
    app_settings(PROVIDERS={"login": {**entry, "OPTIONS": {"issuer": ISSUER}}})

    @junk_given(bodies(METADATA))
    def run(junk: bytes) -> None:
        answer_with(junk)
        try:
            found = get_provider("login").bound(inputs={}).endpoints()
        except ProviderError as error:
            seen[error.code] += 1
            return
        seen["read"] += 1
        for url in (found.authorization_endpoint, found.token_endpoint, found.userinfo_endpoint):
            assert not url or is_safe_url(url), junk

    run()
