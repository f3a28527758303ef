"""``check_provider`` finds how a server takes the site's client, by requests that do no harm."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from connected_accounts.oauth2 import transport
from connected_accounts.operations.doctor.diagnosis import diagnose
from connected_accounts.operations.doctor.findings import Finding
from tests.servers.listed import ODD, Running
from tests.servers.test_life import each_server

pytestmark = [pytest.mark.django_db, each_server]
WAYS = (
    {"token_endpoint_auth_method": "client_secret_post"},
    {"token_endpoint_auth_method": "client_secret_basic", "basic_auth_encoding": "form"},
    {"token_endpoint_auth_method": "client_secret_basic", "basic_auth_encoding": "raw"},
)
# A registered secret that each encoding of HTTP Basic spells in another way.
NAME = "`: % + space` in the secret"


class Counting(transport.PooledAdapter):
    """Counts what is sent to the token endpoint."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.sent = path, 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        data = str(request.body or "")
        self.sent += str(request.url).endswith(self.path) and "grant_type=" in data
        return super().send(request, *args, **options)


@pytest.fixture
def look(server: Running, use_server: Callable[..., Any], settings: Any) -> Any:
    """``look(way)``: what check_provider says of the credentials sent so, and its requests."""

    def run(way: dict[str, str]) -> tuple[Finding, int]:
        written = use_server(server, **way)
        client = {"CLIENT_ID": ODD[NAME]["id"], "CLIENT_SECRET": ODD[NAME]["secret"]}
        written["PROVIDERS"]["stock"] |= client
        settings.CONNECTED_ACCOUNTS = written
        counting = Counting(server.entry.token)
        previous = transport.install_adapter(counting)
        try:
            found = {finding.check: finding for finding in diagnose("stock")}
        finally:
            transport.install_adapter(previous)
            counting.poolmanager.clear()
        return found["credentials"], counting.sent

    return run


def test_the_way_that_works_is_found_in_four_requests(server: Running, look: Any) -> None:
    """Authlib and django-oauth-toolkit decode Basic, node-oauth and allauth do not, canaille
    answers 500 to a client that it refuses."""
    if NAME not in server.clients:
        pytest.skip("optional: this server makes secrets itself, of plain letters")
    for way in WAYS:
        finding, sent = look(way)
        if finding.level == "ok":
            continue
        if server.entry.code_before_client:  # a code that nobody has tells nothing there
            assert "tells nothing" in finding.message
            continue
        assert sent <= 4, (way, finding)
        if server.entry.odd_secret_refused:
            assert finding.hint.startswith("Compare"), (way, finding)
            continue
        proposed = json.loads(f"{{{finding.hint.partition('et ')[2].removesuffix('.')}}}")
        after, _ = look(proposed)
        assert after.level == "ok", (way, proposed, after)
