"""What a server says of itself: where it is asked, whom it must name, and how long it is kept."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connected_accounts.exceptions import ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.discovery import age_of, server_metadata
from connected_accounts.providers.registry import get_provider, problems
from connected_accounts.services import refresh, start_authorization

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


@pytest.fixture(autouse=True)
def _nothing_kept(nothing_discovered: None) -> None:
    pass


@pytest.fixture
def server(serve: Callable[..., Any], answering: Callable[..., bytes]) -> Any:
    """A server that answers what stands in ``documents`` by path, and 404 for the rest."""
    documents: dict[str, Any] = {}

    def answer(request: Any, line: Any) -> bytes:
        found = documents.get(request.target)
        if isinstance(found, bytes):
            return found
        return answering(status=404) if found is None else answering(json.dumps(found))

    running = serve(answer)
    running.documents = documents
    return running


def metadata(issuer: str, **more: Any) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        **more,
    }


def configure(settings: Any, issuer: str, **options: Any) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": "client",
        "CLIENT_SECRET": "secret",
        "OPTIONS": {"issuer": issuer, **options},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"login": entry}}


def test_every_place_is_asked_and_merged(server: Any) -> None:
    issuer = f"{server.url}/tenant"
    server.documents[f"/tenant{OPENID}"] = metadata(issuer, userinfo_endpoint=f"{issuer}/me")
    server.documents[f"{OAUTH}/tenant"] = metadata(issuer, revocation_endpoint=f"{issuer}/revoke")
    found = server_metadata(issuer)
    assert found["userinfo_endpoint"] == f"{issuer}/me"
    assert found["revocation_endpoint"] == f"{issuer}/revoke"
    asked = [request.target for request in server.requests]
    places = [f"/tenant{OPENID}", f"{OAUTH}/tenant", f"/tenant{OAUTH}", f"{OPENID}/tenant"]
    assert asked == places


def test_it_is_kept(server: Any) -> None:
    server.documents[OPENID] = metadata(server.url)
    server_metadata(server.url)
    asked = len(server.requests)
    server_metadata(server.url)
    assert len(server.requests) == asked


@pytest.mark.parametrize("place", [OPENID, OAUTH])
@pytest.mark.parametrize("other", ["https://evil.example", "{}/", None, 1])
def test_a_document_that_names_another_issuer_is_refused(
    server: Any, place: str, other: Any
) -> None:
    server.documents[OPENID] = metadata(server.url)
    named = other.format(server.url) if isinstance(other, str) else other
    server.documents[place] = {**metadata(server.url), "issuer": named}
    for _ in range(2):  # and it is not kept
        with pytest.raises(UnexpectedResponse) as caught:
            server_metadata(server.url)
        assert caught.value.code == "wrong_issuer"


def test_no_document_is_an_error_and_a_server_in_trouble_another(
    server: Any, answering: Callable[..., bytes]
) -> None:
    with pytest.raises(UnexpectedResponse):
        server_metadata(server.url)
    server.documents[OPENID] = answering(status=503)
    with pytest.raises(ProviderUnavailable):
        server_metadata(server.url)


def test_a_redirect_is_not_followed_and_a_huge_document_not_read(
    server: Any, answering: Callable[..., bytes], serve: Callable[..., Any]
) -> None:
    elsewhere = serve()
    server.documents[OPENID] = answering(status=302, Location=f"{elsewhere.url}/x")
    with pytest.raises(UnexpectedResponse):
        server_metadata(server.url)
    assert not elsewhere.requests
    server.documents[OPENID] = answering("x" * 3_000_000)
    with pytest.raises(UnexpectedResponse) as caught:
        server_metadata(server.url)
    assert caught.value.code == "manifest_too_large"


@pytest.mark.parametrize("issuer", ["http://login.example", "ftp://x", "http://localhost:1"])
def test_an_issuer_without_tls_is_not_asked(issuer: str, settings: Any) -> None:
    with pytest.raises(UnexpectedResponse):
        server_metadata(issuer)
    configure(settings, issuer)
    assert "E012" in {problem.id for problem in problems()}


@pytest.mark.parametrize(
    ("control", "age"),
    [
        ("", 3600),
        ("max-age=600", 600),
        ("public, max-age=1", 60),
        ("max-age=99999999", 86400),
        ("no-store", 60),
        ("max-age=x", 3600),
    ],
)
def test_it_is_kept_as_long_as_it_allows_within_bounds(control: str, age: int) -> None:
    assert age_of({"Cache-Control": control}) == age


def test_the_cache_has_a_bound() -> None:
    for number in range(discovery.MAX_DOCUMENTS + 10):
        discovery.cached_document(str(number), lambda: ({"issuer": "x"}, 3600.0))
    assert len(discovery._cache) == discovery.MAX_DOCUMENTS


def test_checks_ask_nobody(server: Any, settings: Any) -> None:
    configure(settings, server.url)
    assert list(problems()) == []
    assert not server.requests


@pytest.mark.parametrize(
    ("told", "method", "challenge"),
    [
        ({}, "client_secret_basic", "S256"),
        ({"code_challenge_methods_supported": ["S256"]}, "client_secret_basic", "S256"),
        ({"code_challenge_methods_supported": ["plain"]}, "client_secret_basic", "S256"),
        ({"code_challenge_methods_supported": []}, "client_secret_basic", "S256"),
        (
            {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]},
            "client_secret_post",
            "S256",
        ),
    ],
)
def test_client_authentication_follows_what_the_server_says_and_pkce_does_not(
    server: Any, settings: Any, told: dict[str, Any], method: str, challenge: str
) -> None:
    server.documents[OPENID] = metadata(server.url, **told)
    configure(settings, server.url)
    provider = get_provider("login")
    provider.endpoints()
    assert provider.token_endpoint_auth_method == method
    assert provider.code_challenge_method == challenge


def test_what_settings_say_wins(server: Any, settings: Any) -> None:
    told = {"authorization_response_iss_parameter_supported": True}
    server.documents[OPENID] = metadata(server.url, **told)
    configure(
        settings,
        server.url,
        token_endpoint_auth_method="none",
        code_challenge_method="",
        revocation_endpoint="https://elsewhere.example/revoke",
    )
    provider = get_provider("login")
    endpoints = provider.endpoints()
    assert provider.token_endpoint_auth_method == "none"
    assert provider.code_challenge_method == ""
    assert provider.iss_required
    assert endpoints.revocation_endpoint == "https://elsewhere.example/revoke"


SENT_SECRETS = ["token_endpoint", "refresh_endpoint", "revocation_endpoint", "userinfo_endpoint"]


@pytest.mark.parametrize("name", SENT_SECRETS)
def test_every_place_that_a_secret_goes_to_is_in_the_fingerprint(
    server: Any, settings: Any, name: str
) -> None:
    own = {n: f"{server.url}/{n}" for n in SENT_SECRETS}
    server.documents[OPENID] = metadata(server.url) | own
    configure(settings, server.url)
    before = get_provider("login").endpoints()
    discovery.clear_cache()
    server.documents[OPENID] = metadata(server.url) | own | {name: "https://moved.example/x"}
    after = get_provider("login").endpoints()
    assert getattr(after, name) == "https://moved.example/x"
    assert "https://moved.example" in after.token_origins()
    assert after.token_fingerprint() != before.token_fingerprint()


@pytest.mark.parametrize("name", SENT_SECRETS)
def test_metadata_leads_to_no_private_address_that_is_not_the_issuers_own(
    server: Any, settings: Any, name: str
) -> None:
    server.documents[OPENID] = metadata(server.url)
    configure(settings, server.url)
    assert not get_provider("login").endpoints().public_only
    discovery.clear_cache()
    server.documents[OPENID] = metadata(server.url) | {name: "https://10.0.0.5:8443/x"}
    assert get_provider("login").endpoints().public_only


def test_an_endpoint_that_settings_name_may_be_inside(server: Any, settings: Any) -> None:
    server.documents[OPENID] = metadata(server.url)
    configure(settings, server.url, revocation_endpoint="https://10.0.0.5/revoke")
    assert not get_provider("login").endpoints().public_only


def test_an_issuer_that_is_away_ends_nothing_that_its_metadata_names(
    server: Any, settings: Any, answering: Any, make_account: Any
) -> None:
    named = {n: f"{server.url}/{n}" for n in ("authorization_endpoint", "token_endpoint")}
    elsewhere = {"userinfo_endpoint": "https://api.example/me"}
    server.documents[OPENID] = metadata(server.url, **elsewhere)
    configure(settings, server.url, **named)
    account = make_account(provider="login")
    discovery.clear_cache()
    server.documents[OPENID] = server.documents[OAUTH] = answering(status=503)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert account.status == "active"


UNUSABLE = ["http://login.example/token", "http://127.0.0.2/x", "token", 5, None, "", "file:///x"]


@pytest.mark.parametrize("endpoint", UNUSABLE)
def test_an_endpoint_without_tls_is_not_used(server: Any, settings: Any, endpoint: Any) -> None:
    server.documents[OPENID] = metadata(server.url, token_endpoint=endpoint)
    configure(settings, server.url)
    with pytest.raises(UnexpectedResponse) as caught:
        get_provider("login").endpoints()
    assert (caught.value.code, caught.value.sent) == ("no_metadata", False)


@pytest.mark.parametrize("endpoint", UNUSABLE)
def test_an_optional_endpoint_that_cannot_be_used_is_none(
    server: Any, settings: Any, endpoint: Any
) -> None:
    told = {"userinfo_endpoint": endpoint, "revocation_endpoint": endpoint}
    server.documents[OPENID] = metadata(server.url, **told)
    configure(settings, server.url, userinfo_endpoint="https://elsewhere.example/me")
    endpoints = get_provider("login").endpoints()
    assert endpoints.userinfo_endpoint == "https://elsewhere.example/me"
    assert endpoints.revocation_endpoint == ""


def test_plain_http_of_metadata_is_for_an_issuer_that_settings_name_so(settings: Any) -> None:
    issuer = "https://login.example"
    told = metadata(issuer, token_endpoint="http://127.0.0.1:9/token")
    discovery.cached_document(f"issuer:{issuer}", lambda: (told, 60.0))
    configure(settings, issuer)
    with pytest.raises(UnexpectedResponse):
        get_provider("login").endpoints()


def test_a_null_in_one_document_leaves_the_value_of_the_other(server: Any) -> None:
    server.documents[OPENID] = metadata(server.url, userinfo_endpoint=None)
    server.documents[OAUTH] = metadata(server.url, userinfo_endpoint=f"{server.url}/me")
    assert server_metadata(server.url)["userinfo_endpoint"] == f"{server.url}/me"


def test_what_one_document_lacks_for_now_ends_no_account(
    server: Any, settings: Any, answering: Callable[..., bytes]
) -> None:
    elsewhere = {"userinfo_endpoint": "https://api.example/me"}
    server.documents[OPENID] = metadata(server.url, **elsewhere)
    server.documents[OAUTH] = metadata(server.url)
    configure(settings, server.url)
    before = get_provider("login").endpoints()
    discovery.clear_cache()
    server.documents[OPENID] = answering(status=503)
    after = get_provider("login").endpoints()
    assert after.userinfo_endpoint != before.userinfo_endpoint
    assert after.authorization_fingerprint() == before.authorization_fingerprint()
    with pytest.raises(ProviderUnavailable):
        after.refuse_if_unsure(before.token_fingerprint())


def test_a_client_without_a_secret_authenticates_by_its_id_alone(
    server: Any, settings: Any
) -> None:
    methods = {"token_endpoint_auth_methods_supported": ["client_secret_basic", "none"]}
    server.documents[OPENID] = metadata(server.url, **methods)
    configure(settings, server.url)
    settings.CONNECTED_ACCOUNTS["PROVIDERS"]["login"]["CLIENT_SECRET"] = ""
    provider = get_provider("login")
    provider.endpoints()
    assert provider.token_endpoint_auth_method == "none"


@pytest.mark.parametrize("odd", [5, "client_secret_post", None, {}])
def test_odd_lists_of_methods_are_passed_over(server: Any, settings: Any, odd: Any) -> None:
    told = {"token_endpoint_auth_methods_supported": odd, "code_challenge_methods_supported": odd}
    server.documents[OPENID] = metadata(server.url, **told)
    configure(settings, server.url)
    provider = get_provider("login")
    provider.endpoints()
    assert provider.token_endpoint_auth_method == "client_secret_basic"
    assert provider.code_challenge_method == "S256"


def test_endpoints_of_settings_do_without_an_issuer_that_is_away(
    server: Any, settings: Any, answering: Callable[..., bytes]
) -> None:
    own = {
        "authorization_endpoint": f"{server.url}/a",
        "token_endpoint": f"{server.url}/t",
    }
    configure(settings, server.url, **own)
    server.documents[OPENID] = answering(status=503)
    assert get_provider("login").endpoints().token_endpoint == f"{server.url}/t"
    discovery.clear_cache()
    server.documents[OPENID] = metadata(server.url, revocation_endpoint=f"{server.url}/r")
    endpoints = get_provider("login").endpoints()
    assert (endpoints.token_endpoint, endpoints.revocation_endpoint) == (
        f"{server.url}/t",
        f"{server.url}/r",
    )


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": ""},
        {
            "issuer": "",
            "authorization_endpoint": "https://x.example/a",
            "token_endpoint": "https://x.example/t",
            "identity_source": "id_token",
        },
    ],
)
def test_settings_that_can_never_work_are_said_to(settings: Any, options: dict[str, Any]) -> None:
    configure(settings, **options)
    assert "E015" in {problem.id for problem in problems()}


@pytest.mark.django_db
def test_an_issuer_alone_asks_for_openid_with_a_nonce(
    server: Any, settings: Any, user: Any
) -> None:
    server.documents[OPENID] = metadata(server.url)
    configure(settings, server.url)
    url = start_authorization(
        user=user,
        provider="login",
        redirect_uri="https://site.example/callback/",
        browser_secret="s" * 43,
    )
    assert url.startswith(f"{server.url}/authorize?")
    query = parse_qs(urlsplit(url).query)
    assert query["scope"] == ["openid"]
    assert len(query["nonce"][0]) == 43
    assert query["code_challenge_method"] == ["S256"]


@pytest.mark.django_db
def test_an_issuer_that_does_not_answer_is_502_and_is_left_alone_for_a_while(
    server: Any, settings: Any, answering: Callable[..., bytes], client_of_ada: Any
) -> None:
    server.documents[OPENID] = answering(status=503)
    configure(settings, server.url)
    assert client_of_ada.get("/connections/login/connect/").status_code == 200
    assert not server.requests
    for _ in range(3):
        assert client_of_ada.post("/connections/login/connect/").status_code == 502
    assert [request.target for request in server.requests].count(OPENID) == 1


@pytest.mark.django_db
def test_a_drain_whose_issuer_does_not_answer_touches_no_account(
    server: Any, settings: Any, answering: Callable[..., bytes], make_account: Any, now: Any
) -> None:
    from connected_accounts.refresh.drain import drain

    server.documents[OPENID] = metadata(server.url)
    configure(settings, server.url)
    account = make_account(provider="login", refresh_at=now - timedelta(minutes=1))
    server.documents[OPENID] = answering(status=503)
    discovery.clear_cache()
    assert vars(drain("login")) == {"refreshed": 0, "failed": 0}
    account.refresh_from_db()
    assert (account.failure_count, account.lease_holder) == (0, None)


def test_what_was_known_stays_good_while_the_server_is_away(
    server: Any, answering: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.documents[OPENID] = metadata(server.url)
    known = server_metadata(server.url)
    server.documents[OPENID] = answering(status=503)
    monkeypatch.setattr(discovery.time, "monotonic", lambda: time.time() + 10**6)
    assert server_metadata(server.url) == known


def test_a_missing_thread_is_not_remembered_of_the_server() -> None:
    fetched: list[int] = []

    def fetch() -> tuple[dict[str, Any], float]:
        fetched.append(1)
        if len(fetched) == 1:
            raise ProviderUnavailable("no_thread", sent=False)
        return {"issuer": "https://server.example"}, 60.0

    with pytest.raises(ProviderUnavailable, match="no_thread"):
        discovery.cached_document("of-this-test", fetch)
    assert discovery.cached_document("of-this-test", fetch)["issuer"] == "https://server.example"
