"""Pages of the site's own, and what is done without a page."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2.state import new_secret
from connected_accounts.owners import Owner, owner_for
from connected_accounts.services import (
    Completed,
    adisconnect,
    aget_access_token,
    arefresh,
    complete_authorization,
    connect_directly,
    disconnect,
    disconnect_all,
    export,
    get_access_token,
    get_access_token_of,
    move_to_owner,
    refresh,
    retire_owner,
    start_authorization,
)


def start(user: Any) -> tuple[str, str]:
    secret = new_secret()
    url: str = start_authorization(
        user=user,
        provider="medals",
        redirect_uri="https://app.example.org/back/",
        browser_secret=secret,
        scopes=["medals:read"],
    )
    return secret, url


def finish(user: Any, secret: str, params: Mapping[str, str]) -> ConnectedAccount:
    done: Completed = complete_authorization(
        user=user, provider="medals", browser_secret=secret, params=params
    )
    created: bool = done.created
    assert created or done.next == ""
    return done.account


def connect_at_once(user: Any, id_token: str) -> ConnectedAccount:
    account, created = connect_directly(
        user=user, provider="mcp", values={"server": "https://mcp.example", "id_token": id_token}
    )
    assert created or account.scopes_granted
    return account


def token_of(account: ConnectedAccount) -> str:
    refresh(account)
    return get_access_token(account)


def token_of_newest(user: Any) -> str:
    return get_access_token_of(user, "medals")


async def token_later(account: ConnectedAccount) -> str:
    await arefresh(account)
    return await aget_access_token(account)


def end(account: ConnectedAccount) -> str:
    owed: Revocation | None = disconnect(account)
    return "" if owed is None else owed.outcome


async def end_later(account: ConnectedAccount) -> Revocation | None:
    return await adisconnect(account)


def end_all() -> int:
    return sum(disconnect_all(ConnectedAccount.objects.filter(user__is_active=False)))


def merge(old: Any, new: Any) -> None:
    for account in ConnectedAccount.objects.for_user(old):
        move_to_owner(account, new, by=new)
    move_to_owner(ConnectedAccount.objects.active()[0], "team:7")
    retire_owner("team:7")


def what_we_have(user: Any) -> str:
    kept: dict[str, list[dict[str, Any]]] = export(user)
    return json.dumps(kept, cls=DjangoJSONEncoder)


def owners(user: Any) -> list[Owner]:
    """What the setting ``OWNERS`` names."""
    return [Owner("team:7", "Wheelwrights", may_use=True)] if user.is_active else []


def may_use(user: Any, key: str) -> bool:
    owner: Owner | None = owner_for(user, key)
    return owner is not None and owner.may_use
