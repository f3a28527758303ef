"""A connected account for a test, made the way a person makes one."""

from collections.abc import Iterable
from typing import Any, Final

from connected_accounts.connect.direct import connect_directly
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import complete_authorization, start_authorization
from connected_accounts.testing.fake import FakeProvider
from connected_accounts.testing.server import CANARY

REDIRECT_URI: Final = "https://testserver/callback/"


def connect_account(
    fake: FakeProvider,
    user: Any,
    *,
    subject: str = "person-1",
    label: str | None = None,
    scopes: Iterable[str] = (),
    granted: Iterable[str] | None = None,
    account: ConnectedAccount | None = None,
    owner: str | None = None,
) -> ConnectedAccount:
    """Connect ``user`` (None: the site itself) at ``fake`` through the app's own services.

    ``subject`` and ``label`` are who the person is at the provider, ``scopes`` what is asked for
    besides the provider's SCOPES, ``granted`` what the person grants of it, by default all. With
    ``account``, that account is connected again; with ``owner``, such as ``team:7``, it is
    connected for a team, by a user who may. For a provider that has no page to agree on, the
    credentials are made up and entered.
    """
    provider = get_provider(fake.alias)
    if provider.grant_type != "authorization_code":
        return _connect_directly(fake, user, subject, label, account, owner)
    browser_secret = new_secret()
    url = start_authorization(
        user=user,
        provider=fake.alias,
        redirect_uri=REDIRECT_URI,
        browser_secret=browser_secret,
        scopes=scopes,
        account=account,
        inputs=fake.inputs,
        owner=owner,
    )
    params = fake.authorize(url, subject=subject, label=label, scopes=granted)
    return complete_authorization(
        user=user, provider=fake.alias, browser_secret=browser_secret, params=params
    ).account


def _connect_directly(
    fake: FakeProvider,
    user: Any,
    subject: str,
    label: str | None,
    account: ConnectedAccount | None,
    owner: str | None,
) -> ConnectedAccount:
    made_up = f"{CANARY}{subject}"
    known = {
        **fake.inputs,
        "client_id": f"client-of-{subject}",
        "client_secret": made_up,
        "personal_token": made_up,
    }
    provider = get_provider(fake.alias)
    shown = f"{subject}@example.org" if label is None else label
    if provider.grant_type == "personal_token":
        fake.add_personal_token(made_up, subject=subject, label=shown)
    elif user is not None:
        fake.add_client(known["client_id"], made_up, subject=subject, label=shown)
    asked = provider.asked_fields(for_site=user is None)
    values = {field.name: known[field.name] for field in asked}
    return connect_directly(
        user=user, provider=fake.alias, values=values, account=account, owner=owner
    )[0]
