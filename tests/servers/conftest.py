"""A server of the list in a process of its own, and the site's settings for it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from connected_accounts.oauth2 import discovery
from tests.servers.bare_client import BareClient
from tests.servers.listed import INSTALLED, SITE, Running, applications, listed, running

GENERIC = "connected_accounts.providers.generic.OAuth2"


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """``start_server(name)``: started when it is first asked for. Skips where it is not installed,
    unless ``make servers`` says that it is."""
    known = listed() | applications()
    found: dict[str, Running] = {}
    with ExitStack() as servers:

        def start(name: str, **extra: Any) -> Running:
            if "CONNECTED_ACCOUNTS_SERVERS" not in os.environ:
                pytest.skip("optional: make servers installs and starts real servers")
            key = f"{name} {extra}"
            if key not in found:
                folder = tmp_path_factory.mktemp(name)
                found[key] = servers.enter_context(running(known[name], folder, **extra))
            return found[key]

        yield start


@pytest.fixture
def server(request: pytest.FixtureRequest, start_server: Callable[..., Running]) -> Running:
    """The server that the test's parameter names."""
    return start_server(request.param)


@pytest.fixture
def bare(server: Running) -> BareClient:
    return BareClient(server)


@pytest.fixture
def use_server(settings: Any, own_connections: None) -> Callable[..., dict[str, Any]]:
    """``use_server(server, **OPTIONS)``: let the site have it as its provider ``stock``."""

    def use(server: Running, **options: Any) -> dict[str, Any]:
        discovery.clear_cache()
        written = {
            "REDIRECT_BASE_URL": SITE,
            "PROVIDERS": {"stock": settings_for(server, **options)},
        }
        settings.CONNECTED_ACCOUNTS = written
        return written

    return use


def settings_for(server: Running, **options: Any) -> dict[str, Any]:
    """What a site writes for the server: its client, its issuer or endpoints, and its options."""
    entry = server.entry
    if entry.issuer is not None:
        named: dict[str, Any] = {"issuer": server.url + entry.issuer}
    else:
        named = {
            "authorization_endpoint": server.url + entry.authorize,
            "token_endpoint": server.url + entry.token,
            "token_endpoint_auth_method": entry.method,
        }
        if entry.revoke:
            named["revocation_endpoint"] = server.url + entry.revoke
        if entry.api:
            named["userinfo_endpoint"] = server.url + entry.api
    client = {"CLIENT_ID": server.client["id"], "CLIENT_SECRET": server.client["secret"]}
    scopes = {} if entry.scopes is None else {"SCOPES": list(entry.scopes)}
    return {
        "BACKEND": GENERIC,
        **client,
        **scopes,
        "OPTIONS": {**named, **entry.options, **options},
    }


@pytest.fixture
def note(server: Running) -> Callable[[str, str], None]:
    """``note(key, text)``: what the app did there, for the page that the run writes."""

    def write(key: str, text: str) -> None:
        file = Path(INSTALLED) / "seen" / f"{server.entry.name}.json"
        file.parent.mkdir(exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, key: text}))

    return write
