"""The people and the clients that the sandbox starts with. Running it again changes nothing."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from oauth2_provider.models import get_application_model

from .credentials import own_credentials
from .dialects import BIME, DIALECTS, Dialect
from .models import Registration

PEOPLE = {"ada": ("Ada", "Lovelace"), "grace": ("Grace", "Hopper")}
PERSONAL_TOKENS = "bime-personal-tokens"
"""The client that Bime's personal tokens belong to, since the toolkit wants each to have one."""

Application = get_application_model()


def seed(redirect_bases: Iterable[str]) -> None:
    seed_people()
    seed_clients([base.rstrip("/") for base in redirect_bases])
    own_credentials(get_user_model().objects.get(username="ada"), secret="ada-bits-secret")


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
    for dialect in DIALECTS.values():
        if dialect.client_id:
            seed_client(dialect, redirect_bases)
    personal, _ = Application.objects.get_or_create(
        client_id=PERSONAL_TOKENS,
        defaults={
            "name": "Personal tokens",
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_CLIENT_CREDENTIALS,
        },
    )
    Registration.objects.get_or_create(application=personal, defaults={"dialect": BIME.name})


def seed_client(dialect: Dialect, redirect_bases: list[str]) -> None:
    callbacks = [f"{base}/connections/{dialect.name}/callback/" for base in redirect_bases]
    application, _ = Application.objects.update_or_create(
        client_id=dialect.client_id,
        defaults={
            "name": "Connected accounts example",
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": dialect.grant,
            "redirect_uris": " ".join(callbacks),
            "client_secret": dialect.client_secret,
            # Published in the documents, and a slow hash would cap the load tests.
            "hash_client_secret": False,
            "algorithm": dialect.algorithm,
        },
    )
    Registration.objects.get_or_create(application=application, defaults={"dialect": dialect.name})
