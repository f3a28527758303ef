"""Connecting while a middleware of the site has a transaction open: refused in words."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytest.importorskip("reversion")
from reversion.middleware import RevisionMiddleware

pytestmark = pytest.mark.django_db(transaction=True)

CREDENTIALS = {"client_id": "client-of-ada", "client_secret": "entered-secret"}


@pytest.fixture(autouse=True)
def providers(app_settings: Any, settings: Any) -> None:
    """One that people authorize, and one whose credentials they enter."""
    badgr = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    app_settings(PROVIDERS={"badgr": badgr, "bits": bits})


@pytest.fixture
def bits(providers: None) -> Iterator[FakeProvider]:
    with FakeProvider("bits") as fake:
        secret = CREDENTIALS["client_secret"]
        fake.add_client(CREDENTIALS["client_id"], secret, subject="ada", label="Ada")
        yield fake


class LeavesUsOut(RevisionMiddleware):
    """Our addresses are left out."""

    def request_creates_revision(self, request: Any) -> bool:
        ours = request.path.startswith(("/connections/", "/api/connections/", "/admin/"))
        return not ours and bool(super().request_creates_revision(request))


class NotAtomic(RevisionMiddleware):
    atomic = False


def use(settings: Any, middleware: type) -> None:
    name = f"{middleware.__module__}.{middleware.__qualname__}"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, name]


def connect_bits(client: Client) -> Any:
    return client.post("/connections/bits/connect/", CREDENTIALS)


def test_credentials_are_refused_in_words_and_nothing_is_sent(
    client_of_ada: Client, bits: FakeProvider, settings: Any, caplog: Any
) -> None:
    use(settings, RevisionMiddleware)
    answer = connect_bits(client_of_ada)
    assert answer.status_code == 500
    assert "RuntimeError" not in caplog.text
    assert "must not be part of a transaction" in caplog.text
    assert bits.requests == []
    by_api = client_of_ada.post(
        "/api/connections/providers/bits/connect/",
        {"inputs": CREDENTIALS},
        content_type="application/json",
    )
    assert by_api.json()["code"] == "misconfigured"
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("middleware", [LeavesUsOut, NotAtomic])
def test_where_our_addresses_are_left_out_credentials_connect(
    middleware: type, client_of_ada: Client, bits: FakeProvider, settings: Any
) -> None:
    use(settings, middleware)
    assert connect_bits(client_of_ada).status_code == 303
    assert ConnectedAccount.objects.get().provider == "bits"


def test_an_authorization_and_a_disconnect_need_no_change(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    use(settings, RevisionMiddleware)
    account = connect(client_of_ada, badgr)
    answer = client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    assert answer.status_code in (200, 303)
    assert Revocation.objects.exists()
    assert disconnect(account) is None
