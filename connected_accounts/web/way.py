"""The way to a server that a person names: found before they go, and shown to them; and the way to
more permissions when a call there wants them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.utils import timezone

from connected_accounts.connect.authorization import found, known_client, offered_scopes
from connected_accounts.connect.intent import requested_scopes
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.providers.base import Provider
from connected_accounts.providers.inputs import CREDENTIALS
from connected_accounts.providers.registry import get_provider
from connected_accounts.web import browser
from connected_accounts.web.cards import scope_lines
from connected_accounts.web.forms import ConnectForm

TIMES: Final = 3  # that a person is sent to give more for one page, within LATELY
LATELY: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Way:
    """``server`` is what was named, ``guard`` the host that the person will be sent to, and
    ``issuer`` its name for itself. ``needs_client``: it lets nobody become a client by itself, so
    the person has to enter one."""

    server: str
    guard: str
    issuer: str
    scopes: list[Any]
    needs_client: bool


def find_way(
    provider: Provider,
    form: ConnectForm,
    scopes: Sequence[str],
    *,
    redirect_uri: str,
    owner: str,
    account: ConnectedAccount | None = None,
) -> Way:
    """Ask the server that ``form`` names, which is valid. Raises what ``start_authorization``
    raises."""
    wanted = requested_scopes(provider, scopes, account)
    inputs = {name: text for name, text in form.values.items() if name not in CREDENTIALS}
    bound, endpoints = found(provider.bound(inputs=inputs))
    has_client = bool(
        endpoints.registration_endpoint
        or bound.settings_client()
        or known_client(bound, redirect_uri, owner)
    )
    return Way(
        server=bound.inputs["server"].partition("://")[2],
        guard=urlsplit(endpoints.authorization_endpoint).netloc,
        issuer=endpoints.issuer,
        scopes=scope_lines(bound, offered_scopes(bound, wanted)),
        needs_client=not has_client,
    )


def way_to_more(
    account: ConnectedAccount, scopes: Sequence[str], back: str, *, now: datetime | None = None
) -> str:
    """The address that asks the person for ``scopes`` and returns to ``back``; empty where they
    were all asked for before, or the person was sent for this page often enough: then it would not
    help."""
    provider = get_provider(account.provider)
    new = [scope for scope in scopes if scope not in account.scopes_requested]
    if not new or not all(map(provider.may_ask_for, new)):
        return ""
    since = (now or timezone.now()) - LATELY
    asked = AuthorizationRequest.objects.filter(account=account, created_at__gte=since)
    # It may be stored with its host: see ``browser.way_back``.
    if asked.filter(next__endswith=back).count() >= TIMES:
        return ""
    address = browser.page_of("reconnect", account.pk)
    query = [("next", back)] if back else []
    return f"{address}?{urlencode([*query, *(('scope', s) for s in new)])}" if address else ""
