"""The how-to's settings for a bank, as they stand there, at a server that demands everything."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import Revocation
from connected_accounts.services import get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import start, stored
from tests.servers.listed import ROOT, SITE
from tests.servers.person import Person
from tests.servers.strict.conftest import Strict
from tests.servers.strict.test_strict_life import ALL, connect, person

__all__ = ["person"]
pytestmark = pytest.mark.django_db
PAGE = ROOT / "docs/how-to/strong-clients.md"
BLOCK = re.compile(
    r"FAPI 2\.0 bank that demands everything:\n\n```python[^\n]*\n(.*?)```", re.DOTALL
)


def documented(server: Strict, folder: Path) -> dict[str, Any]:
    """The entry for ``bank``, where the files of secrets and the bank's address are the test's."""
    (block,) = BLOCK.findall(PAGE.read_text("utf-8"))
    names = {
        "/run/secrets/client-key.pem": folder / "client-key.pem",
        "/run/secrets/client.crt": Path(server.entry["CLIENT_CERTIFICATE"]),
        "/run/secrets/client.key": Path(server.entry["CLIENT_CERTIFICATE"]),  # it has both
        "https://login.bank.example": server.url,
        '"…"': '"site"',
    }
    names["/run/secrets/client-key.pem"].write_text(server.entry["CLIENT_KEY"])
    for shown, real in names.items():
        assert shown in block
        block = block.replace(shown, str(real))
    found: dict[str, Any] = eval(f"{{{block}}}", {"Path": Path})["bank"]  # our own page
    return found


def test_the_documented_bank_is_connected_for_a_whole_life(
    started: Callable[..., Strict],
    client: Client,
    user: Any,
    person: Person,
    settings: Any,
    tmp_path: Path,
) -> None:
    server = started(*ALL)
    entry = documented(server, tmp_path)
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": {"stock": entry}}
    client.force_login(user)
    url = start(client, "stock")
    assert "request_uri" in url
    account = connect(client, person, url)
    assert "dpop_key" in stored(account)
    get_session(account).get("me").raise_for_status()
    refresh(account)
    assert server.grants("refresh_token") == 1
    get_session(account).get("me").raise_for_status()
    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    assert {one.outcome for one in Revocation.objects.all()} == {"revoked"}
