"""A dump that is loaded into another database: closed without the key, whole with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)
from connected_accounts.sealing import is_sealed, seal, unseal
from connected_accounts.services import disconnect
from connected_accounts.testing import CANARY, FakeProvider
from tests.journeys import connect, start

pytestmark = pytest.mark.django_db


@contextmanager
def in_another_database(file: Path) -> Iterator[None]:
    """A database in a file of its own in place of the default one; made when it is not there."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
    settings_before, before = connections.settings["default"], connections["default"]
    connections.settings["default"] = connections.configure_settings({"default": settings})[
        "default"
    ]
    del connections["default"]
    try:
        if not file.exists():
            call_command("migrate", verbosity=0)
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = settings_before
        connections["default"] = before


def test_a_dump_goes_into_another_database_and_opens_only_with_the_key(
    client_of_ada: Client, badgr: FakeProvider, tmp_path: Path, settings: Any
) -> None:
    disconnect(connect(client_of_ada, badgr, subject="first"))
    account = connect(client_of_ada, badgr, subject="second")
    start(client_of_ada)
    client = ProviderClient(provider="badgr", client_id="c", created_at=timezone.now())
    client.client_secret = seal(f"{CANARY}secret", purpose="p", bound_to=client.seal_id)
    client.save()
    tokens, dump, elsewhere = account.open_token(), tmp_path / "dump.json", tmp_path / "other.db"
    call_command("dumpdata", "auth.user", "connected_accounts", output=str(dump), verbosity=0)
    assert CANARY not in dump.read_text()

    good = settings.FIELD_ENCRYPTION_KEY
    with in_another_database(elsewhere):
        assert not ConnectedAccount.objects.exists()
        settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
        call_command("loaddata", str(dump), verbosity=0)
        with pytest.raises(Undecryptable) as caught:
            ConnectedAccount.objects.get().open_token()
        assert caught.value.code == "key_missing"

        settings.FIELD_ENCRYPTION_KEY = good
        assert ConnectedAccount.objects.get().open_token() == tokens
        copy = ProviderClient.objects.get()
        secret = unseal(copy.client_secret, purpose="p", bound_to=copy.seal_id)
        assert secret == f"{CANARY}secret"
        assert is_sealed(Revocation.objects.get().token)
        assert AuthorizationRequest.objects.count() == 3
