"""A server that a person names may take its time at every step: the person waits for no longer than
the deadline, and is told so."""

import json
import time
from typing import Any

import pytest

from connected_accounts.exceptions import ProviderError
from connected_accounts.models import AuthorizationRequest, ProviderClient
from connected_accounts.oauth2 import transport
from connected_accounts.providers.registry import get_provider
from tests.mcp.conftest import BACKEND
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person, Refused
from tests.oauth2.test_transport_faults import drip

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 1.5  # seconds: the other steps are done within it on a busy machine too
STEPS = {
    "challenge": "/mcp",
    "resource": "/.well-known/oauth-protected-resource/mcp",
    "metadata": "/.well-known/oauth-authorization-server",
}
DRIPS = {
    "header": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{",
}


@pytest.mark.parametrize("text", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_drips_is_cut_off_at_each_step(
    person: Person, guarded: Guarded, settings: Any, serve: Any, step: str, text: bytes
) -> None:
    slow = serve(lambda request, line: drip(lambda: slow.stopping, line, text))
    server, configured = guarded.server, settings.CONNECTED_ACCOUNTS
    entry = configured["PROVIDERS"]["mcp"]
    entry = {**entry, "OPTIONS": {"servers": [guarded.url, slow.url.rstrip("/")]}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": entry}, "HTTP_DEADLINE": DEADLINE}
    if step == "challenge":
        server = f"{slow.url.rstrip('/')}/mcp"
    elif step == "resource":
        named = f'Bearer resource_metadata="{slow.url}"'
        guarded.answers["/mcp"] = (401, {}, {"WWW-Authenticate": named})
    else:
        guarded.resource["authorization_servers"] = [slow.url]
    began = time.monotonic()
    with pytest.raises(Refused) as caught:
        person.connect(server)
    assert time.monotonic() - began >= DEADLINE, "the one that drips was asked"
    assert (caught.value.status, "not answering" in caught.value.text) == (502, True)
    assert not guarded.asked("/register")
    assert not ProviderClient.objects.exists()
    assert not AuthorizationRequest.objects.exists()


def test_a_server_that_is_slow_at_every_step_is_given_up_together(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three guards, at four addresses each, and each answer comes shortly before the deadline."""
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": {"BACKEND": BACKEND}}}
    guards = [f"https://guard{number}.example" for number in range(3)]
    server = "https://mcp.example/mcp"
    clock = [time.monotonic()]
    asked: list[str] = []

    def fetch(request: Any, *, public: bool = False, **others: Any) -> transport.Answer:
        clock[0] += 29
        asked.append(request.url)
        if request.url == server:
            return transport.Answer(401, {}, b"")
        described = {"resource": server, "authorization_servers": guards}
        found = "protected-resource" in request.url
        return transport.Answer(200 if found else 404, {}, json.dumps(described).encode())

    monkeypatch.setattr(transport, "fetch", fetch)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with pytest.raises(ProviderError):
        get_provider("mcp").bound(inputs={"server": server}).endpoints()
    assert len(asked) * 29 <= 4 * 30
    assert not [url for url in asked if url.startswith(guards[1])]
