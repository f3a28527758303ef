"""Bluesky out of the catalogue: a client by its own description, and accounts that say which server
speaks for them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core import checks
from django.test import Client

from connected_accounts.exceptions import ConfigurationError, ProviderError, UnexpectedResponse
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.jose import new_key
from connected_accounts.providers.catalogue.did import did_document, handle_of, server_in
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import finish, query_of, start, stored
from tests.operations.test_check_provider import check
from tests.strong.conftest import site_keys
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db
SITE = "https://app.example.org"
OWN = f"{SITE}/connections/bluesky/client.json"
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
RESOURCE = "/.well-known/oauth-protected-resource"


class Atproto(StrongServer):
    """An entryway with the directory of DIDs, or a server that holds accounts (``guard``)."""

    client_id = OWN
    guard = ""

    def __init__(self, *demands: str, **told: Any) -> None:
        super().__init__("proof", "pushed", *demands, **told)
        self.told |= {"authorization_response_iss_parameter_supported": True}
        self.documents: dict[str, Any] = {}
        self.subject: Any = DID
        self.nonce = "n-0S6_WzA2Mj"

    def account(self, server: str, did: str = DID, **others: Any) -> None:
        kind = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer"}
        service = [{**kind, "serviceEndpoint": server}]
        self.documents[f"/{did}"] = {"id": did, "service": service, **others}

    def answer(self, method: str, path: str, *rest: Any) -> tuple[int, Any] | None:
        if path in self.documents:
            return 200, self.documents[path]
        if path == RESOURCE and self.guard:
            return 200, {"resource": self.issuer, "authorization_servers": [self.guard]}
        return super().answer(method, path, *rest)

    def _act(self, path: str, *rest: Any) -> tuple[int, Any]:
        status, said = super()._act(path, *rest)
        more = {"sub": self.subject, "scope": "atproto"} if path == "/token" else {}
        return status, said | more


class Sky:
    """The entryway, the server of its accounts, and a site that lists both."""

    def __init__(self, settings: Any, stack: ExitStack) -> None:
        self.settings, self.stack = settings, stack
        self.entryway, self.holder = self.server("assertion"), self.server()
        self.entryway.keys = site_keys
        self.holder.guard = self.entryway.issuer
        # The holder takes what the entryway gives.
        self.holder._tokens = self.entryway._tokens
        self.entryway.account(self.holder.issuer)
        self.entry: dict[str, Any] = {
            "SERVICE": "bluesky",
            "CLIENT_KEY": new_key().private_pem().reveal(),
            "OPTIONS": {
                "hosts": [self.entryway.issuer, self.holder.issuer],
                "plc_directory": self.entryway.issuer,
            },
        }
        self.use()

    def server(self, *demands: str) -> Atproto:
        return self.stack.enter_context(Atproto(*demands))

    def use(self) -> None:
        providers = {"bluesky": self.entry}
        self.settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": providers}

    def connect(self, client: Client, server: Atproto | None = None) -> Any:
        at = server or self.entryway
        url = start(client, "bluesky", host=at.issuer)
        assert query_of(url).keys() == {"client_id", "request_uri"}
        return finish(client, self.entryway.authorize(url), "bluesky")


@pytest.fixture
def sky(settings: Any, nothing_discovered: None) -> Iterator[Sky]:
    with ExitStack() as stack:
        yield Sky(settings, stack)


@pytest.fixture
def ada(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


def test_an_account_is_connected_by_the_sites_own_description(sky: Sky, ada: Client) -> None:
    response = sky.connect(ada)
    assert response.status_code == 303, (response.content, sky.entryway.refusals)
    account = ConnectedAccount.objects.get()
    assert (account.subject, account.label, account.client_id) == (DID, DID, OWN)
    assert account.scopes_granted == ["atproto"]
    assert stored(account)["dpop_key"]
    asserted = sky.entryway.assertions
    assert {(one["iss"], one["aud"]) for one in asserted} == {(OWN, sky.entryway.issuer)}

    assert get_session(account).get("me").json() == {"sub": "ada"}
    assert [path for path, _, _ in sky.holder.calls] == ["/me", "/me"]  # the first without nonce

    refresh(account)
    account.refresh_from_db()
    assert account.status == "active"
    get_session(account).get("me").raise_for_status()
    assert ada.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    assert sky.entryway.sent("/revoke")


def test_the_server_that_holds_accounts_leads_to_the_one_that_speaks_for_them(
    sky: Sky, ada: Client
) -> None:
    response = sky.connect(ada, sky.holder)
    assert response.status_code == 303, (response.content, sky.entryway.refusals)
    account = ConnectedAccount.objects.get()
    assert account.inputs == {"host": sky.holder.issuer, "issuer": sky.entryway.issuer}


def test_a_connection_stays_with_the_server_that_it_was_made_at(sky: Sky, ada: Client) -> None:
    assert sky.connect(ada, sky.holder).status_code == 303
    account = ConnectedAccount.objects.get()
    other = sky.server("assertion")
    sky.holder.guard = other.issuer
    refresh(account)
    assert not other.calls


@pytest.mark.parametrize("moved", ["another server", "another guard"])
def test_a_server_that_does_not_speak_for_the_account_connects_nobody(
    sky: Sky, ada: Client, moved: str
) -> None:
    other = sky.server()
    sky.entry["OPTIONS"]["hosts"].append(other.issuer)
    sky.use()
    if moved == "another server":
        sky.entryway.account(other.issuer)
    else:
        sky.holder.guard = other.issuer
    response = sky.connect(ada)
    assert response.status_code == 502
    assert not ConnectedAccount.objects.exists()
    revoke_pending_tokens.apply().get()
    assert sky.entryway.sent("/revoke"), "nobody will use this grant"


@pytest.mark.parametrize(
    "subject", [None, 7, "", "ada", "did:plc:short", "did:key:z6Mk", "did:web:127.0.0.1"]
)
def test_a_subject_that_no_account_has_connects_nobody(sky: Sky, ada: Client, subject: Any) -> None:
    sky.entryway.subject = subject
    assert sky.connect(ada).status_code == 502
    assert not ConnectedAccount.objects.exists()


def test_a_server_inside_that_only_an_account_names_is_not_called(
    sky: Sky, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = sky.server()
    sky.entryway.account(inside.issuer)
    asked: list[str] = []

    def answering(method: str, path: str, *rest: Any) -> tuple[int, Any]:
        asked.append(path)
        return 200, {}

    monkeypatch.setattr(inside, "answer", answering)
    assert sky.connect(ada).status_code == 502
    assert not ConnectedAccount.objects.exists()
    assert asked == []


def test_a_refresh_that_answers_for_somebody_else_ends_the_connection(
    sky: Sky, ada: Client
) -> None:
    assert sky.connect(ada).status_code == 303
    account = ConnectedAccount.objects.get()
    sky.entryway.subject = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    with pytest.raises(Exception, match="identity_changed"):
        refresh(account)


# The site's description.


@pytest.mark.parametrize("with_key", [True, False])
def test_the_description_is_what_atproto_asks_of_a_client(sky: Sky, with_key: bool) -> None:
    sky.entry["SCOPES"] = ["atproto", "transition:generic"]
    sky.entry["OPTIONS"] |= {"client_name": "Ours"}
    if not with_key:
        del sky.entry["CLIENT_KEY"]
    sky.use()
    answer = Client().get("/connections/bluesky/client.json")
    by_key = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks_uri": f"{SITE}/connections/jwks/",
    }
    assert json.loads(answer.content) == {
        "client_id": OWN,
        "client_name": "Ours",
        "client_uri": SITE,
        "application_type": "web",
        "redirect_uris": [f"{SITE}/connections/bluesky/callback/"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "atproto transition:generic",
        "dpop_bound_access_tokens": True,
        **(by_key if with_key else {"token_endpoint_auth_method": "none"}),
    }


def test_any_server_can_be_told_to_read_the_description(settings: Any, client: Client) -> None:
    options = {"issuer": "https://login.example", "client_id_metadata_document": True}
    entry = {"BACKEND": "connected_accounts.providers.generic.OAuth2", "OPTIONS": options}
    site = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": {"bluesky": entry}}
    settings.CONNECTED_ACCOUNTS = site
    assert Client().get("/connections/bluesky/client.json").json()["client_id"] == OWN
    provider = get_provider("bluesky")
    found = provider.client_for(f"{SITE}/connections/bluesky/callback/")
    assert found is not None
    assert provider.bound(client=found).token_endpoint_auth_method == "none"
    entry["CLIENT_ID"] = "given-to-us"
    settings.CONNECTED_ACCOUNTS = site | {"PROVIDERS": {"bluesky": entry}}
    assert Client().get("/connections/bluesky/client.json").status_code == 404


def test_without_an_https_address_the_checks_say_so_and_nobody_connects(
    sky: Sky, ada: Client, settings: Any
) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bluesky": sky.entry}}
    ids = {one.id for one in checks.run_checks(tags=["connected_accounts"])}
    assert "connected_accounts.W022" in ids
    response = ada.post("/connections/bluesky/connect/", {"host": sky.entryway.issuer})
    assert response.status_code == 503


def test_check_provider_looks_at_the_description_and_names_the_client(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = transport.fetch
    callback = f"{SITE}/connections/bluesky/callback/"

    def answering(request: Any, **others: Any) -> transport.Answer:
        if request.url != OWN:
            return fetch(request, **others)
        told = {"client_id": OWN, "client_name": "Ours", "redirect_uris": [callback]}
        return transport.Answer(200, {}, json.dumps(told).encode())

    monkeypatch.setattr(transport, "fetch", answering)
    sky.entryway.nonce = ""  # which is asked for once, and a second look finds known
    found = check("bluesky", "--input", f"host={sky.entryway.issuer}")
    assert found.level("client_metadata") == "ok"
    assert found.level("client") == "ok"
    assert OWN in found.said("client")
    assert "ES256" in found.said("client")
    assert found.level("discovery") == "ok"


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "x", "bsky.social/x"])
def test_without_a_list_only_a_public_name_is_called(sky: Sky, host: str) -> None:
    del sky.entry["OPTIONS"]["hosts"]
    sky.use()
    messages = checks.run_checks(tags=["connected_accounts"])
    assert [one for one in messages if one.id != "connected_accounts.W001"] == []
    [field] = get_provider("bluesky").asked_fields()
    assert field.fault(host)
    with pytest.raises(ConfigurationError):
        get_provider("bluesky").endpoints({"host": host})


# DIDs and handles.

Document = dict[str, Any]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Bodies by address; an address without one is out of order."""
    found: dict[str, Any] = {}

    def answering(request: Any, *, public: bool = False, **_: Any) -> transport.Answer:
        assert public is not request.url.startswith("https://plc.example/")
        said = found.get(request.url)
        if said is None:
            return transport.Answer(404, {}, b"")
        if isinstance(said, Exception):
            raise said
        return transport.Answer(200, {}, said.encode())

    monkeypatch.setattr(transport, "fetch", answering)
    return found


@pytest.mark.parametrize(
    ("did", "address"),
    [
        (DID, f"https://plc.example/{DID}"),
        ("did:web:ada.example.org", "https://ada.example.org/.well-known/did.json"),
    ],
)
def test_a_document_is_found_and_must_be_of_the_account(
    answers: Document, did: str, address: str
) -> None:
    answers[address] = json.dumps({"id": did})
    assert did_document(did, directory="https://plc.example/") == {"id": did}
    for other in ("[]", "no JSON", json.dumps({"id": "did:plc:another"})):
        answers[address] = other
        with pytest.raises(UnexpectedResponse, match="no_identity"):
            did_document(did, directory="https://plc.example/")


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Other"},
        {"id": "#other"},
        {"serviceEndpoint": "http://pds.example"},
        {"serviceEndpoint": "https://pds.example/below"},
        {"serviceEndpoint": "https://u:p@pds.example"},
        {"serviceEndpoint": ["https://pds.example"]},
    ],
)
def test_only_a_whole_origin_is_the_server_of_an_account(change: dict[str, Any]) -> None:
    kind = {"id": f"{DID}#atproto_pds", "type": "AtprotoPersonalDataServer"}
    one = {**kind, "serviceEndpoint": "https://pds.example/"}
    assert server_in({"id": DID, "service": ["x", one]}) == "https://pds.example"
    for services in ([one | change], None, {}):
        with pytest.raises(UnexpectedResponse, match="no_identity"):
            server_in({"id": DID, "service": services})


@pytest.mark.parametrize(
    ("names", "said", "handle"),
    [
        (["at://Ada.example.org"], DID, "ada.example.org"),
        (["at://ada.example.org"], f"{DID}\n", "ada.example.org"),
        (["at://ada.example.org"], "did:plc:another", ""),
        (["at://ada.example.org"], None, ""),
        (["at://ada.example.org"], ProviderError("timeout"), ""),
        (["at://bsky.app", "at://ada.example.org"], DID, ""),
        (["https://x.example", 7, "at://ada.example.org"], DID, "ada.example.org"),
        (["at://localhost"], DID, ""),
        ("at://ada.example.org", DID, ""),
        (None, DID, ""),
    ],
)
def test_a_handle_is_believed_once_its_own_host_names_the_account(
    answers: Document, names: Any, said: Any, handle: str
) -> None:
    if said is not None:
        answers["https://ada.example.org/.well-known/atproto-did"] = said
    assert handle_of({"id": DID, "alsoKnownAs": names}) == handle
