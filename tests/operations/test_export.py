"""What a person gets who asks what is stored about them."""

import json
from typing import Any

import pytest
from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ProviderClient
from connected_accounts.operations.export import PARTS
from connected_accounts.owners import owner_key
from connected_accounts.sealing import seal
from connected_accounts.services import disconnect, export
from connected_accounts.testing import CANARY, FakeProvider
from tests.journeys import connect, start

pytestmark = pytest.mark.django_db


def test_all_that_is_stored_about_a_user_and_nothing_sealed_or_anybody_elses(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider, ada: Any
) -> None:
    connect(client_of_bob, badgr, subject="bob-at-badgr")
    disconnect(connect(client_of_ada, badgr, subject="first"))
    connect(client_of_ada, badgr, subject="second")
    start(client_of_ada)
    client = ProviderClient(provider="badgr", client_id="mine", created_at=timezone.now())
    client.owner_key = owner_key(ada)
    client.client_secret = seal(f"{CANARY}secret", purpose="p", bound_to=client.seal_id)
    client.save()
    found = export(ada)
    counts = {name: len(rows) for name, rows in found.items()}
    assert counts == {
        "connected_accounts": 1,
        "started_authorizations": 3,
        "revocations": 1,
        "events": 3,
        "provider_clients": 1,
    }
    [account] = found["connected_accounts"]
    assert (account["subject"], account["label"]) == ("second", "second@example.org")
    text = json.dumps(found, cls=DjangoJSONEncoder)
    for hidden in (CANARY, "v1.", "bob-at-badgr", "token", "code_verifier", "client_secret"):
        assert hidden not in text.replace("refresh_token_expires_at", "")


def test_every_model_that_names_an_owner_is_in_it() -> None:
    owned = {
        model
        for model in apps.get_app_config("connected_accounts").get_models()
        if any(field.name in ("owner_key", "user") for field in model._meta.fields)
    }
    assert owned == set(PARTS.values())
