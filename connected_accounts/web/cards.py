"""An account as the pages show it: plain values, never the row itself."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import cycle
from typing import Any, Final, NamedTuple

from django.core.paginator import Page, Paginator
from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils.dateformat import DateFormat, re_escaped, re_formatchars
from django.utils.formats import date_format, get_format
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone, is_aware, localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connected_accounts.database.selects import read_all
from connected_accounts.models import ConnectedAccount, Reason, Status
from connected_accounts.owners import owner_key
from connected_accounts.provider_state import pauses
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import known_provider
from connected_accounts.tokens.scopes import missing_scopes
from connected_accounts.web.marks import Mark, mark_of

_SHOWN: Final = (
    "user",
    "provider",
    "inputs",
    "host",
    "subject",
    "label",
    "connected_at",
    "refreshed_at",
    "scopes_granted",
    "scopes_requested",
    "status",
    "reason",
    "failure_count",
    "refused_since",
    "expires_at",
    "is_renewable",
)
PER_PAGE: Final = 50  # cards; a page of more is slow to make and to read
# Stands in an address for every account's key, to cut the address around it: no other part of a
# URL has these nineteen digits.
_ANY_PK: Final = 9_000_000_000_000_000_000
_NOT_OFFERED: Final = gettext_lazy(
    "This site does not use this service any more. You can disconnect it."
)
_NOT_ANSWERING: Final = gettext_lazy(
    "The service is not answering at the moment. There is nothing for you to do; it is tried again."
)
_REFUSING: Final = gettext_lazy(
    "The service refuses to renew the permission. It is tried again; if that goes on, you will be "
    "asked to connect it again."
)
_REFUSING_NOW: Final = gettext_lazy(
    "The service refuses to renew the permission, and it has expired. It is tried again; if it "
    "cannot wait, connect it again."
)

# OpenID Connect Core 5.4 and 11: the same wherever they are granted.
_STANDARD: Final = {
    "openid": gettext_lazy("Know who you are there"),
    "email": gettext_lazy("See your e-mail address"),
    "profile": gettext_lazy("See your name and profile"),
    "offline_access": gettext_lazy("Stay connected while you are away"),
}


class ScopeLine(NamedTuple):
    """One permission: the provider's own name for it, and what it lets the site do."""

    scope: str
    words: str


class _Shared:
    """The parts that all cards of a page share: a word, the reader's zone and format of
    days, and the addresses of links."""

    def __init__(self) -> None:
        self.connected = _("Connected")
        self._zone = get_current_timezone()
        # Text, a letter that stands for a part of the day, text, and so on.
        self._format = re_formatchars.split(get_format("DATE_FORMAT"))
        self._format[::2] = [re_escaped.sub(r"\1", text) for text in self._format[::2]]
        self._days: dict[date, SafeString] = {}
        self._around: dict[str, tuple[SafeString, SafeString]] = {}

    def day_of(self, moment: datetime) -> SafeString:
        """The day of a moment as a ``time`` element, in the reader's time zone and format."""
        day = (moment.astimezone(self._zone) if is_aware(moment) else moment).date()
        if day not in self._days:
            words = escape(self._in_words(day))
            self._days[day] = SafeString(f'<time datetime="{day.isoformat()}">{words}</time>')
        return self._days[day]

    def _in_words(self, day: date) -> str:
        """As ``dateformat.format``, which takes the format apart for each day anew."""
        written = DateFormat(day)
        return "".join(
            str(getattr(written, part)()) if is_letter else part
            for part, is_letter in zip(self._format, cycle((False, True)), strict=False)
        )

    def address_of(self, page: str, pk: int) -> SafeString:
        """The address of ``page``, a name of connected_accounts.urls, for one account."""
        if page not in self._around:
            address = reverse(f"connected_accounts:{page}", args=[_ANY_PK])
            before, _number, after = address.rpartition(str(_ANY_PK))
            self._around[page] = escape(before), escape(after)
        before, after = self._around[page]
        return SafeString(f"{before}{pk:d}{after}")


@dataclass(frozen=True)
class Card:
    """One connected account, as its owner sees it. ``state`` is ``connected``, ``needs_you``,
    ``not_answering`` or ``not_offered``; ``state_words`` says the same to a person. ``scopes`` were
    granted, ``missing`` asked for and not granted. ``note``: that the service answers nobody at the
    moment, which is no fault of the connection, or that it refuses to renew what still works."""

    pk: int
    provider: str
    service: str
    mark: Mark
    label: str
    state: str
    state_words: str
    scopes: tuple[ScopeLine, ...]
    missing: tuple[ScopeLine, ...]
    connected_at: datetime
    refreshed_at: datetime | None
    can_reconnect: bool
    manage_url: str
    shared: _Shared
    note: str = ""

    def __getitem__(self, name: str) -> Any:
        """Templates look for a key first, and a miss costs them more than all the rest."""
        return getattr(self, name)

    @property
    def title(self) -> SafeString:
        """Which account it is, in one line."""
        return escape(f"{self.service} {self.label}")

    @property
    def connected_on(self) -> SafeString:
        return self.shared.day_of(self.connected_at)

    @property
    def refreshed_on(self) -> SafeString | None:
        return self.shared.day_of(self.refreshed_at) if self.refreshed_at else None

    @property
    def needs_you(self) -> bool:
        return self.state == "needs_you"

    @property
    def can_test(self) -> bool:
        return self.can_reconnect and not self.needs_you

    @property
    def reconnect_url(self) -> SafeString:
        return self.shared.address_of("reconnect", self.pk)

    @property
    def disconnect_url(self) -> SafeString:
        return self.shared.address_of("disconnect", self.pk)

    @property
    def history_url(self) -> SafeString:
        return self.shared.address_of("history", self.pk)

    @property
    def test_url(self) -> SafeString:
        return self.shared.address_of("test", self.pk)


@dataclass(frozen=True)
class Offer:
    """A service that can be connected; ``connected``: the person has an account there already."""

    provider: Provider
    mark: Mark
    connected: bool


def account_cards(user: Any, now: datetime, number: Any = 1) -> Page[Card]:
    """One page of the cards of a user's accounts: those that need the person first, then by
    provider, oldest first. Two queries, or four where one page does not hold them. ``number`` may
    be anything a person writes."""
    key = owner_key(user)
    accounts: Any = read_all(ConnectedAccount, {"owner_key": key}, _SHOWN, limit=PER_PAGE + 1)
    if len(accounts) > PER_PAGE:
        rows = ConnectedAccount.objects.current().for_owner(key).only(*_SHOWN)
        ended_first = Case(When(ended(now), then=0), default=1)
        accounts = rows.order_by(ended_first, "provider", "connected_at", "pk")
    else:
        accounts.sort(key=lambda row: (not _ended(row, now), row.provider, row.connected_at))
    page = Paginator(accounts, PER_PAGE).get_page(number)
    page.object_list = cards_of(page.object_list, now)
    page.object_list.sort(key=lambda card: not card.needs_you)  # an outage says otherwise
    return page


def cards_of(accounts: Iterable[ConnectedAccount], now: datetime) -> list[Card]:
    """The card of each row, in their order. One query besides."""
    services, shared, in_outage = Services(), _Shared(), pauses.hosts_in_outage()
    return [
        _card(account, services[account.provider], now, shared, in_outage) for account in accounts
    ]


def offers(providers: Iterable[Provider], known: Collection[str]) -> list[Offer]:
    """The services that can be connected; ``known`` are the aliases that the person has. No
    query."""
    return [Offer(p, mark_of(p.alias, p.name), p.alias in known) for p in providers]


def account_card(account: ConnectedAccount, now: datetime) -> Card:
    """The card of one account. No query."""
    return _card(account, Service(account.provider), now, _Shared())


class Service:
    """The service of an alias. ``provider`` is None where it was taken out of settings: what was
    connected is shown, and can be disconnected."""

    def __init__(self, alias: str) -> None:
        self.provider = known_provider(alias)
        self.name = self.provider.name if self.provider else alias
        self.mark = mark_of(alias, self.name)
        self._lines: dict[tuple[str, ...], tuple[ScopeLine, ...]] = {}

    def lines(self, scopes: Iterable[str]) -> tuple[ScopeLine, ...]:
        """Permissions in plain words."""
        key = (*scopes,)
        if key not in self._lines:
            self._lines[key] = (*scope_lines(self.provider, key),)
        return self._lines[key]


class Services(dict[str, Service]):
    """The services of one page by alias; settings are asked once for each."""

    def __missing__(self, alias: str) -> Service:
        self[alias] = Service(alias)
        return self[alias]


def _card(
    account: ConnectedAccount,
    service: Service,
    now: datetime,
    shared: _Shared,
    in_outage: Collection[tuple[str, str]] = (),
) -> Card:
    provider = service.provider
    state, state_words = "not_offered", str(_NOT_OFFERED)
    if provider:
        state, state_words = _state(account, now, shared)
    note = str(_REFUSING) if state == "connected" and _is_refused(account) else ""
    if (account.provider, account.host) in in_outage and state not in ("needs_you", "not_offered"):
        state, state_words, note = "connected", shared.connected, str(_NOT_ANSWERING)
    return Card(
        pk=account.pk,
        provider=account.provider,
        service=service.name,
        mark=service.mark,
        label=account.display_name,
        state=state,
        state_words=state_words,
        scopes=service.lines(account.scopes_granted),
        missing=service.lines(_missing(provider, account)),
        connected_at=account.connected_at,
        refreshed_at=account.refreshed_at,
        can_reconnect=provider is not None,
        manage_url=provider.manage_url_for(account.inputs) if provider else "",
        shared=shared,
        note=note,
    )


def is_revocable(account: ConnectedAccount) -> bool:
    """Whether the grant can be withdrawn from here, as far as is known: nobody is asked."""
    provider = known_provider(account.provider)
    return provider is not None and provider.offers_revocation() is not False


def _state(account: ConnectedAccount, now: datetime, shared: _Shared) -> tuple[str, str]:
    if account.needs_reconnect:
        why = (
            Reason(account.reason).label
            if account.reason in Reason
            else _("the permission has ended")
        )
        return "needs_you", _("Action needed: %(why)s. Please reconnect.") % {"why": why}
    expired = account.expires_at is not None and account.expires_at <= now
    if expired and not account.is_renewable:
        return "needs_you", _("Action needed: the permission has expired. Please reconnect.")
    if _is_refused(account):
        return ("needs_you", str(_REFUSING_NOW)) if expired else ("connected", shared.connected)
    if account.failure_count:
        return "not_answering", str(_NOT_ANSWERING)
    if account.expires_at is not None and not account.is_renewable:
        until = date_format(localtime(account.expires_at), "DATETIME_FORMAT")
        words = _("Connected until %(until)s. The service does not let this site renew it.")
        return "connected", words % {"until": until}
    return "connected", shared.connected


def ended(now: datetime) -> Q:
    """The condition of accounts that work no more without the person, as far as their rows tell."""
    refused = Q(failure_count__gt=0, refused_since__isnull=False)
    over = Q(expires_at__lte=now) & (Q(is_renewable=False) | refused)
    return Q(status=Status.RECONNECT_REQUIRED) | over


def _ended(account: ConnectedAccount, now: datetime) -> bool:
    """The same of a row that was read."""
    expired = account.expires_at is not None and account.expires_at <= now
    over = expired and (not account.is_renewable or _is_refused(account))
    return account.needs_reconnect or over


def _is_refused(account: ConnectedAccount) -> bool:
    return bool(account.failure_count) and account.refused_since is not None


def _missing(provider: Provider | None, account: ConnectedAccount) -> list[str]:
    # Some providers have other names for what they grant: only fewer say that something is missing.
    if len(account.scopes_granted) >= len(account.scopes_requested):
        return []
    return missing_scopes(provider, account.scopes_requested, account.scopes_granted)


def scope_lines(provider: Provider | None, scopes: Any) -> list[ScopeLine]:
    """Permissions in plain words; one that the provider's class does not know stands as it is."""
    described = provider.scope_descriptions if provider else {}
    return [
        ScopeLine(scope, str(described.get(scope) or _STANDARD.get(scope, ""))) for scope in scopes
    ]


def _place(provider: Provider, name: str, scopes: list[str] | None) -> dict[str, Any]:
    """One choice and what is asked for there. Where that is not known yet: all that may be, each
    sentence once."""
    lines = scope_lines(provider, provider.scopes if scopes is None else scopes)
    if scopes is None:
        lines = list({line.words or line.scope: line for line in lines}.values())
    return {"name": name, "scopes": lines, "known": scopes is not None}


def permissions_asked(
    provider: Provider, extra: list[str], account: ConnectedAccount | None
) -> dict[str, Any]:
    """The permissions on the connect page: those that are asked for in any case, and those that the
    person may choose, ticked where the address names them or the account had them."""
    chosen_before = provider.scopes_before(account) if account else []
    by_choice = provider.scopes_by_choice(list(provider.scopes))
    if account is not None:
        by_choice = {c: s for c, s in by_choice.items() if c in account.inputs.values()}
    # What a personal token may do was said where it was made.
    optional = () if provider.grant_type == "personal_token" else provider.config.optional_scopes
    # What a call was refused for want of, where the service names what there is.
    also = [s for s in extra if s not in (*provider.config.optional_scopes, *provider.scopes)]
    always = dict.fromkeys([*provider.scopes, *also])
    return {
        "scopes": [] if by_choice else scope_lines(provider, always),
        "also": also,
        "places": [_place(provider, *item) for item in by_choice.items()],
        "choices": scope_lines(provider, [s for s in optional if s not in provider.scopes]),
        "ticked": [*extra, *chosen_before],
    }
