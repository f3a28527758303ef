"""The people and the clients that the sandbox starts with. Running it again changes nothing."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from oauth2_provider.models import get_application_model

from .dialects import DIALECTS

PEOPLE = {"ada": ("Ada", "Lovelace"), "grace": ("Grace", "Hopper")}


def seed(redirect_bases: Iterable[str]) -> None:
    seed_people()
    seed_clients([base.rstrip("/") for base in redirect_bases])


def seed_people() -> None:
    users = get_user_model().objects
    for name, (first_name, last_name) in PEOPLE.items():
        if users.filter(username=name).exists():
            continue
        users.create_user(
            username=name,
            email=f"{name}@sandbox.example",
            password=name,
            first_name=first_name,
            last_name=last_name,
        )


def seed_clients(redirect_bases: list[str]) -> None:
    application = get_application_model()
    for dialect in DIALECTS.values():
        callbacks = [f"{base}/connections/{dialect.name}/callback/" for base in redirect_bases]
        application.objects.update_or_create(
            client_id=dialect.client_id,
            defaults={
                "name": "Connected accounts example",
                "client_type": application.CLIENT_CONFIDENTIAL,
                "authorization_grant_type": application.GRANT_AUTHORIZATION_CODE,
                "redirect_uris": " ".join(callbacks),
                "client_secret": dialect.client_secret,
                # Published in the documents, and a slow hash would cap the load tests.
                "hash_client_secret": False,
            },
        )
