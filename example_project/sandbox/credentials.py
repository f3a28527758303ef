"""A person's own API credentials at Bits: made, shown, rotated and revoked."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_access_token_model, get_application_model

from .dialects import BITS
from .grants import kill_grants
from .models import Registration

AccessToken = get_access_token_model()
Application = get_application_model()


def find_credentials(user: AbstractUser) -> Any | None:
    """The person's client, unless it was revoked."""
    mine = Application.objects.filter(user=user, registration__dialect=BITS.name)
    client = mine.select_related("registration").first()
    return client if client is not None and not client.registration.is_dead else None


@transaction.atomic
def own_credentials(user: AbstractUser, secret: str) -> Any:
    """The person's client: made with that secret if there never was one."""
    application, _ = Application.objects.get_or_create(
        client_id=f"{user.get_username()}-bits",
        defaults={
            "name": f"API credentials of {user.get_full_name()}",
            "user": user,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_CLIENT_CREDENTIALS,
            "client_secret": secret,
            # So that the page can show it again.
            "hash_client_secret": False,
        },
    )
    Registration.objects.get_or_create(application=application, defaults={"dialect": BITS.name})
    return application


@transaction.atomic
def rotate_credentials(user: AbstractUser) -> None:
    """A new secret. The old one is dead, and so are the tokens that it bought."""
    secret = generate_client_secret()
    application = own_credentials(user, secret)
    application.client_secret = secret
    application.save()
    AccessToken.objects.filter(application=application).delete()
    Registration.objects.filter(application=application).update(secret_expires_at=None)


def revoke_credentials(user: AbstractUser) -> None:
    kill_grants(BITS, user)
