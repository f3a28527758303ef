"""The client credentials to use: in settings, entered by an admin, registered, or a person's own.

A newer pair takes the place of an older one at once for new connections. For the accounts that were
made with the same client id the older one stays as a fall-back, until it is removed.
"""

import math
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.selects import read_all
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)
from connected_accounts.oauth2.token import read_scope
from connected_accounts.owners import SITE_OWNER
from connected_accounts.providers.base import Client, Provider
from connected_accounts.security import SecurityEvent

# That a secret must still last for a new connection: this, or half its life where that is less.
IN_GOOD_TIME: Final = timedelta(hours=1)

KnownClients = Callable[[Provider, str, str], list[Client]]
T = TypeVar("T")


@sensitive_variables()
def open_client(row: ProviderClient) -> Client:
    """The pair of a row. Raises Undecryptable."""
    try:
        secret = row.open_secret()
    except Undecryptable as error:
        security.log(
            SecurityEvent.UNDECRYPTABLE,
            provider=row.provider,
            owner=row.owner_key,
            reason=error.code,
        )
        raise
    return Client(
        row.client_id,
        secret,
        pk=row.pk,
        registered=row.registered,
        owned=row.owner_key != SITE_OWNER,
        scopes=read_scope(row.metadata.get("scope"), " ") or None,
        auth_method=str(row.metadata.get("token_endpoint_auth_method") or ""),
    )


def client_in_use(
    provider: Provider, *, redirect_uri: str = "", scopes: Collection[str] = ()
) -> Client | None:
    """The site's pair for a new connection: the newest that an admin entered, or that was
    registered for ``redirect_uri`` and ``scopes`` at this host; else that of settings. None: there
    is none.

    Raises Undecryptable where the newest cannot be opened: an older one must not be used unnoticed.
    """
    for row in _good_rows(provider):
        if not row.registered or _serves(row.metadata, redirect_uri, scopes):
            return open_client(row)
    return provider.settings_client()


def client_entered(provider: Provider) -> Client | None:
    """The newest pair that an admin entered for this host; None: none. Raises Undecryptable."""
    entered = (row for row in _good_rows(provider) if not row.registered)
    row = next(entered, None)
    return None if row is None else open_client(row)


def client_of_owner(provider: Provider, owner: str) -> Client | None:
    """The newest pair that a person entered for this host, and that is known to be right: they have
    an account that was made with it, and it was not refused since. None: they must be asked. Raises
    Undecryptable."""
    made = ConnectedAccount.objects.at(provider.alias).for_owner(owner).filter(host=provider.host)
    for row in _good_rows(provider, owner):
        is_right = not row.registered and row.refused_at is None
        if is_right and made.filter(client_id=row.client_id).exists():
            return open_client(row)
    return None


def _good_rows(provider: Provider, owner: str = SITE_OWNER) -> list[ProviderClient]:
    """The owner's pairs for this host that may serve new connections, newest first."""
    now = timezone.now()
    rows = read_all(ProviderClient, entered_here(provider) | {"owner_key": owner})
    return [row for row in rows if not row.retired_at and _lasts(row, now)]


def _lasts(row: ProviderClient, now: datetime) -> bool:
    ends = row.secret_expires_at
    return ends is None or ends - now > min(IN_GOOD_TIME, (ends - row.created_at) / 2)


def entered_here(provider: Provider) -> dict[str, str]:
    """The conditions of the pairs that the site has for this alias and host besides settings'."""
    at = {"provider": provider.alias, "host": provider.client_host}
    return at | {"owner_key": SITE_OWNER}


def _serves(metadata: Mapping[str, Any], redirect_uri: str, scopes: Collection[str]) -> bool:
    asked = str(metadata.get("requested_scope", "")).split()
    return redirect_uri in metadata.get("redirect_uris", ()) and set(scopes) <= set(asked)


def with_client_in_use(provider: Provider) -> Provider:
    """The provider with the site's pair. Raises ConfigurationError (``no_client``)."""
    client = client_in_use(provider)
    if client is None:
        raise ConfigurationError(
            "no_client",
            "There is no client id for this provider: write it into settings, or enter it in the "
            "admin under “Provider clients”.",
        )
    return provider.bound(client=client)


def known_clients(provider: Provider, client_ids: Iterable[str]) -> KnownClients:
    """A look-up of the pairs with one client id that an owner's account at a bound provider may
    use, newest first; one query for all of ``client_ids``. A pair of another host is none of them,
    whatever its client id: the hosts choose those. The look-up raises Undecryptable where none can
    be opened."""
    rows: dict[str, list[ProviderClient]] = {}
    wanted, same = set(client_ids), list[ProviderClient]()
    if len(wanted) == 1:
        same = read_all(ProviderClient, {"provider": provider.alias, "client_id": min(wanted)})
    elif wanted:
        found = ProviderClient.objects.filter(provider=provider.alias, client_id__in=wanted)
        same = list(found.order_by("-pk"))
    for row in same:
        rows.setdefault(row.client_id, []).append(row)
    opened: dict[int, Client] = {}

    def look_up(bound: Provider, client_id: str, owner: str) -> list[Client]:
        clients, unreadable, mine = [], None, rows.get(client_id, [])
        if mine:
            here = {(owner, bound.host), (SITE_OWNER, bound.client_host)}
            mine = [row for row in mine if (row.owner_key, row.host) in here]
        for row in sorted(mine, key=lambda row: row.retired_at is not None):
            try:
                clients.append(opened.get(row.pk) or opened.setdefault(row.pk, open_client(row)))
            except Undecryptable as error:
                unreadable = error
        others = [bound.settings_client(), bound.public_client(client_id)]
        clients += [c for c in others if c is not None and client_id and c.client_id == client_id]
        if unreadable is not None and not clients:
            raise unreadable
        return clients

    return look_up


def clients_of(
    provider: Provider, client_id: str, owner: str, *, may_be_stored: bool = True
) -> list[Client]:
    """The pairs for one client id and owner at a bound provider, newest first; no query where none
    is stored. Raises Undecryptable."""
    stored = [client_id] if may_be_stored else []
    return known_clients(provider, stored)(provider, client_id, owner)


def with_any_client(
    provider: Provider,
    clients: Sequence[Client],
    call: Callable[[Provider], T],
    *,
    on_refused: Callable[[Client], None] | None = None,
    ends: float = math.inf,
) -> T:
    """``call`` with the provider bound to the first of ``clients`` that is not refused. A refused
    client has spent nothing, so that an older pair of the same client may do.

    ``on_refused`` is called with each that was. No further one is tried once ``time.monotonic()``
    is past ``ends``. Raises the last ClientRejected, with the code ``no_client`` if there is none.
    """
    error = ClientRejected("no_client", sent=False)
    for client in clients:
        try:
            return call(provider.bound(client=client))
        except ClientRejected as refused:
            error = refused
        if on_refused is not None:
            on_refused(client)
        if time.monotonic() > ends:
            break
    raise error


def note_refused(pks: Iterable[int | None], at: datetime) -> None:
    """Remember that the provider refused these pairs, for the admin to see."""
    refused = [pk for pk in pks if pk is not None]
    if refused:
        ProviderClient.objects.filter(pk__in=refused).update(refused_at=at)


def retire(pk: int | None, at: datetime) -> None:
    """Use a pair for nothing new any more."""
    if pk is None:
        return
    ProviderClient.objects.filter(pk=pk, retired_at__isnull=True).update(retired_at=at)


def connectable(providers: Iterable[Provider]) -> list[Provider]:
    """The providers that can be connected now: they have a client, or need none beforehand. At most
    one query."""
    found = list(providers)
    missing = [p.alias for p in found if not _has_client(p)]
    if not missing:
        return found
    rows = ProviderClient.objects.entered().filter(retired_at__isnull=True, provider__in=missing)
    entered = set(rows.values_list("provider", flat=True))
    return [p for p in found if p.alias not in missing or p.alias in entered]


def _has_client(provider: Provider) -> bool:
    if provider.config.client_id or provider.grant_type != "authorization_code":
        return True
    return provider.registers


def registered_scopes(client: Client, wanted: list[str]) -> list[str]:
    """The wanted scopes that the host registered the site for: it may register fewer than were
    asked (RFC 7591 3.2.1). Raises UnexpectedResponse (``no_scope_offered``) where none is left."""
    left = [scope for scope in wanted if client.scopes is None or scope in client.scopes]
    if wanted and not left:
        raise UnexpectedResponse("no_scope_offered", sent=False)
    return left


def dependents_of(row: ProviderClient) -> int:
    """The number of accounts that still need this pair: all that were made with its client id; if a
    newer pair with the same id is in use and accepted, those that have not had a token since."""
    newer = ProviderClient.objects.filter(
        provider=row.provider,
        host=row.host,
        owner_key=row.owner_key,
        client_id=row.client_id,
        pk__gt=row.pk,
        retired_at__isnull=True,
        refused_at__isnull=True,
    ).first()
    since = newer.created_at if newer else None
    return dependents(row.provider, row.client_id, host=row.host, since=since)


def dependents(
    provider: str, client_id: str, *, host: str = "", since: datetime | None = None
) -> int:
    """The number of accounts of the site and its users that were made with this client id; with
    ``host``, only those there, and with ``since``, only those that have not had a token since."""
    made = ConnectedAccount.objects.at(provider).filter(client_id=client_id)
    if host:
        made = made.filter(host=host)
    if since is not None:
        made = made.filter(
            Q(refreshed_at__lt=since) | Q(refreshed_at__isnull=True), connected_at__lt=since
        )
    return int(made.aggregate(n=Count("pk"))["n"])


def store_own_client(
    client: Client, *, provider: str, owner: str, at: datetime, host: str = "", **extra: Any
) -> ProviderClient:
    """Keep a person's own credentials for one host, sealed; a new secret for the same id takes the
    old place."""
    security.log(SecurityEvent.CLIENT_STORED, provider=provider, owner=owner)
    which = {"provider": provider, "host": host, "owner_key": owner, "client_id": client.client_id}
    facts = {**which, "seal_id": uuid.uuid4()}
    values = {
        **facts,
        "client_secret": ProviderClient(**facts).sealed(client.client_secret),
        "created_at": at,
        "refused_at": None,
        "retired_at": None,
        **extra,
    }
    same = ProviderClient.objects.filter(**which)
    if not same.update(**values):
        return insert_in_step(ProviderClient, lambda: ProviderClient.objects.create(**values))
    return same.latest("pk")


def orphaned_clients() -> QuerySet[ProviderClient]:
    """People's own credentials that no account and no revocation needs any more."""
    begun = {name: OuterRef(name) for name in ("provider", "owner_key", "client_id")}
    same = {"host": OuterRef("host"), **begun}
    return ProviderClient.objects.exclude(owner_key=SITE_OWNER).exclude(
        Exists(ConnectedAccount.objects.filter(**same))
        | Exists(AuthorizationRequest.objects.filter(**begun))  # somebody is on the way
        | Exists(Revocation.objects.filter(**same, token__isnull=False))
    )
