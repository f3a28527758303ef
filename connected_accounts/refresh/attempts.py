"""One attempt to refresh an account: claim by lease, ask the provider, store behind the fence.

The one path to the token endpoint's refresh grant. ``claim`` and ``settle`` talk to the database,
``ask`` to the network, and never both: no transaction and no lock is open during a call.
"""

import time
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from connected_accounts import conf
from connected_accounts.clients.credentials import KnownClients, known_clients, with_any_client
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.oauth2.event_loop.exchange import Exchange, Template
from connected_accounts.oauth2.event_loop.promise import Promise
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.oauth2.transport import is_direct
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.hooks import call_hook
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.tokens.document import proof_key_of
from connected_accounts.tokens.endpoint import (
    differs_by_token_alone,
    exchange_client_credentials,
    exchange_refresh_token,
    read_token_answer,
    refresh_request,
)
from connected_accounts.tokens.identity_assertion import exchange_id_token
from connected_accounts.tokens.lifetimes import ASKED_ANEW
from connected_accounts.tokens.throttle import NOT_IN_TIME, Lane

LEASE_MARGIN: Final = 30.0  # seconds to store in, after the deadline of the call

LEASE_TOO_OLD: Final = NOT_IN_TIME
HOOK_FAILED: Final = "hook_failed"
OWNER_INACTIVE: Final = "owner_inactive"
INACTIVE_AGAIN_IN: Final = timedelta(days=1)  # the owner may be let in again
REPLAY_PAUSE: Final = 1.0  # seconds until a lost answer is asked for again
# Seconds. Servers that take a spent refresh token once more do so for as long (half a minute to two
# minutes, seen), and some answer with the tokens of the first time, which have aged by then.
LONGEST_GRACE: Final = 600.0

RefreshResult = TokenResponse | ConnectedAccountsError
# The way of all accounts without inputs, once it is known: with its ``token_fingerprint``.
Found = dict[str, tuple[Provider, Endpoints, str]]
_NOWHERE: Final = Endpoints()


@dataclass(eq=False, slots=True)  # an attempt is itself
class Attempt:
    """A claimed account and what is needed to refresh it. ``replay``: an earlier attempt's answer
    is unknown, so the refresh token may have been spent already. ``clients`` may serve it, the
    first before the others; ``refused`` are those that the provider did not take."""

    account: ConnectedAccount
    provider: Provider
    known_clients: KnownClients
    replay: bool
    send_before: float  # time.monotonic(): later, the lease could end before the answer is stored
    lease_ends: float  # time.monotonic()
    counted_from: float  # time.monotonic(), when it was ``sent_at`` by the caller's ``now``
    sent_at: datetime
    asked: bool = False  # the provider was
    answered: "RefreshResult | None" = field(default=None, repr=False)  # what its exchange meant
    after_refusal: bool = False  # an API has refused the access token
    had_ended: bool = False  # by a refusal, and may heal
    outcome: "RefreshResult | None" = None  # once settled
    is_first_failure: bool = False  # of its account, once that is stored
    not_before: float = 0.0  # time.monotonic(): its slot under the provider's rate limit
    lane: Lane = field(default_factory=Lane, repr=False)
    endpoints: Endpoints = _NOWHERE
    clients: list[Client] = field(default_factory=list)
    refused: list[Client] = field(default_factory=list)
    document: SecretFields = field(default_factory=lambda: SecretFields({}))

    @property
    def lost(self) -> ProviderError | None:
        """The first answer, where the refresh token may have been spent for it."""
        first = self.answered
        return first if isinstance(first, ProviderError) and first.sent else None

    @property
    def unresolved_since(self) -> datetime | None:
        return self.account.attempt_started_at if self.replay else None

    @property
    def _age(self) -> float:
        """Seconds since the refresh token was first sent, as far as is known."""
        began = self.account.attempt_started_at or self.sent_at
        return (self.sent_at - began).total_seconds() + time.monotonic() - self.counted_from

    def may_replay(self, outcome: "RefreshResult") -> bool:
        """Whether the answer is asked for again at once: the first time that none arrived, while a
        grace of the server's may still run, and for as long as a declared one does."""
        if not isinstance(outcome, ProviderError) or not outcome.sent:
            return False
        if outcome.code == HOOK_FAILED or not self.provider.replay_lost_answer:
            return False  # a backend's hook that fails would fail again
        first = outcome.status is None and not self.replay
        return first or self._age < self.provider.reuse_window

    @property
    def life_counted_from(self) -> datetime:
        """The moment from which the answer's tokens may have lived. One that repeats an earlier
        answer tells their whole life all the same (seen)."""
        began = self.account.attempt_started_at
        if not self.replay or began is None:
            return self.sent_at
        grace = timedelta(seconds=max(LONGEST_GRACE, self.provider.reuse_window))
        return began if self.sent_at - began <= grace else self.sent_at


@dataclass(frozen=True)
class Claim:
    """The accounts that are about to be claimed, written down beforehand: should the claim be cut
    off, nobody else would know of it."""

    pks: Collection[int]
    now: datetime
    holder: uuid.UUID = field(default_factory=uuid.uuid4)

    def give_back(self, *, but: Collection[int] = ()) -> None:
        """Release what was claimed, of which nothing was sent, ``but`` what is held."""
        pks = [pk for pk in self.pks if pk not in but]
        ConnectedAccount.objects.all().give_back(pks, holder=self.holder, now=self.now)


def claim(
    pks: Collection[int],
    provider: Provider,
    *,
    now: datetime,
    holder: uuid.UUID | None = None,
    due_at: datetime | None = None,
) -> list[Attempt]:
    """Take the lease of those accounts that are active and free, and still due at ``due_at``, with
    their tokens, unopened."""
    holder = holder or uuid.uuid4()
    lease = float(conf.get("HTTP_DEADLINE")) + LEASE_MARGIN
    began = time.monotonic()
    accounts = ConnectedAccount.objects.all()
    rows = accounts.claim(list(pks), holder=holder, seconds=lease, now=now, due_at=due_at)
    if not rows:
        return []
    known = known_clients(provider, {row.client_id for row in rows})
    return [
        Attempt(
            account=row,
            provider=provider,
            known_clients=known,
            replay=row.attempt_started_at != now,
            had_ended=row.needs_reconnect,
            send_before=began + LEASE_MARGIN / 2,
            lease_ends=began + lease,
            counted_from=began,
            sent_at=now,
        )
        for row in rows
    ]


def prepare(attempt: Attempt, found: Found | None = None) -> ConnectedAccountsError | None:
    """Open the token and check that it may be sent where settings now point. An error is an outcome
    to settle without asking the provider.

    ``found`` remembers the addresses that all accounts without inputs share.
    """
    account = attempt.account
    if not account.owner_is_active:
        return ProviderUnavailable(OWNER_INACTIVE, sent=False)
    if time.monotonic() > attempt.send_before:  # hosts of others may have been silent
        return ProviderUnavailable(LEASE_TOO_OLD, sent=False)
    scopes = account.scopes_granted if isinstance(account.scopes_granted, list) else []
    account.scopes_granted = [scope for scope in scopes if isinstance(scope, str)]
    try:
        # A backend's hook, and inputs of a shape that it may not expect.
        fingerprint = call_hook("refresh", lambda: _find_endpoints(attempt, found))
    except ProviderError as error:
        error.sent = False  # its metadata cannot be had at the moment
        return error
    except ConnectedAccountsError as error:
        return UnexpectedResponse(error.code, sent=False)
    if account.endpoint_fingerprint != fingerprint:
        return ReauthorizationRequired(Reason.ENDPOINTS_CHANGED)
    try:
        attempt.clients = attempt.known_clients(
            attempt.provider, account.client_id, account.owner_key
        )
        attempt.document = account.open_token()
    except Undecryptable as error:
        return error
    if attempt.replay and not attempt.provider.replay_lost_answer:
        return ReauthorizationRequired(Reason.ROTATION_LOST)
    return _nothing_to_ask_with(attempt)


def _find_endpoints(attempt: Attempt, found: Found | None) -> str:
    """Find where an attempt leads; return the fingerprint of that."""
    inputs = attempt.account.inputs
    if inputs or not found:
        provider = attempt.provider.bound(inputs=inputs)
        endpoints = provider.endpoints()
        way = provider, endpoints, endpoints.token_fingerprint()
        if not inputs and found is not None:
            found[""] = way
    else:
        way = found[""]
    attempt.provider, attempt.endpoints, fingerprint = way
    attempt.endpoints.refuse_if_unsure(attempt.account.endpoint_fingerprint)
    return fingerprint


def _nothing_to_ask_with(attempt: Attempt) -> ReauthorizationRequired | None:
    grant_type = attempt.provider.grant_type
    if grant_type == "personal_token":
        return ReauthorizationRequired("no_refresh_token")
    if not attempt.clients:
        return ReauthorizationRequired(Reason.CREDENTIALS_REJECTED)
    if grant_type not in ASKED_ANEW and not attempt.document.get("refresh_token"):
        return ReauthorizationRequired("no_refresh_token")
    return None


# By what requests have in common: the provider bound to its client, and the rest of them.
Templates = dict[tuple[Provider, Endpoints, Client], tuple[Provider, Template]]


def exchange_of(attempt: Attempt, templates: Templates) -> Exchange | None:
    """The attempt's request, for an event loop. None for what goes by ``ask`` only: what waits for
    its turn, what takes more than one request, and what fails before anything is sent.

    ``templates`` are kept here while a drain lasts."""
    provider = attempt.provider
    waits = attempt.lane.is_narrow or attempt.not_before > time.monotonic()
    bound_to_key = provider.dpop or proof_key_of(attempt.document) is not None
    if waits or bound_to_key or provider.grant_type in ASKED_ANEW:
        return None
    known = templates.get((provider, attempt.endpoints, attempt.clients[0]))
    with suppress(Exception):  # a hook's: it is called again, where that is told
        if known is None:
            return _new_exchange(attempt, templates)
        attempt.provider, template = known
        refresh_token = attempt.document["refresh_token"]
        return template.filled(refresh_token, begin_before=attempt.send_before)
    return None


def _new_exchange(attempt: Attempt, templates: Templates) -> Exchange | None:
    provider, endpoints, client = attempt.provider, attempt.endpoints, attempt.clients[0]
    url = endpoints.refresh_endpoint or endpoints.token_endpoint
    if not is_direct(url, provider.config.client_certificate):
        return None
    bound, scopes = provider.bound(client=client), attempt.account.scopes_granted
    request = refresh_request(bound, endpoints, attempt.document, scopes)
    public = endpoints.public_only
    exchange = Exchange.of(request, public=public, begin_before=attempt.send_before)
    if differs_by_token_alone(bound):
        template = Template.of(exchange, attempt.document["refresh_token"])
        if template is not None:
            templates[provider, endpoints, client] = bound, template
    attempt.provider = bound
    return exchange


def outcome_of(attempt: Attempt, exchange: Exchange) -> RefreshResult:
    """The result of an exchange. Calls the provider's hooks."""
    answer = exchange.outcome
    if exchange.begun_at is None or answer is None:
        return ProviderUnavailable(LEASE_TOO_OLD, sent=False)
    _note_asked(attempt, exchange.begun_at)
    if isinstance(answer, ProviderError):
        return answer
    provider = attempt.provider
    try:
        return call_hook("refresh", lambda: read_token_answer(provider, answer))
    except ConnectedAccountsError as error:
        return error.with_traceback(None)  # whose frames hold the tokens


def next_try(attempt: Attempt, outcome: RefreshResult) -> Callable[[Attempt], RefreshResult] | None:
    """The way to ask once more, from a thread, where ``ask`` would behind this first outcome."""
    now = time.monotonic()
    if isinstance(outcome, ClientRejected):
        client, *attempt.clients = attempt.clients
        attempt.refused.append(client)
        return ask if attempt.clients and now <= attempt.send_before else None
    wait = attempt.lane.note(outcome)
    if wait is not None and now + wait <= attempt.send_before:
        return ask
    return _ask_again if _is_to_be_asked_again(attempt, outcome) else None


def ask_into(
    future: Future[RefreshResult] | Promise,
    attempt: Attempt,
    by: Callable[[Attempt], RefreshResult] | None = None,
) -> None:
    """``ask``, or do it ``by`` another way, in whatever thread, unless the future was cancelled."""
    if future.set_running_or_notify_cancel():
        result: RefreshResult = UnexpectedResponse(HOOK_FAILED)
        try:
            result = (by or ask)(attempt)
        finally:  # whatever is raised, somebody waits for a result
            future.set_result(result)


def ask(attempt: Attempt) -> RefreshResult:
    """Call the provider. Network only, safe in any thread; an error is returned, not raised.

    An answer that was lost is asked for once more at once: a server that takes a spent refresh
    token again does so for seconds, and where it does not, waiting gains nothing.
    """
    if (wait := attempt.not_before - time.monotonic()) > 0:  # sleep(0) lets other threads go first
        time.sleep(wait)
    if time.monotonic() > attempt.send_before:
        return ProviderUnavailable(LEASE_TOO_OLD, sent=False)
    outcome = attempt.lane.send(lambda: _ask_with_any_client(attempt), ends=attempt.send_before)
    return _ask_again(attempt) if _is_to_be_asked_again(attempt, outcome) else outcome


def _is_to_be_asked_again(attempt: Attempt, outcome: RefreshResult) -> bool:
    # Under a rate limit a second request would have no slot of its own.
    free = attempt.provider.config.max_requests_per_second is None
    return free and attempt.may_replay(outcome) and time.monotonic() <= attempt.send_before


def _ask_again(attempt: Attempt) -> RefreshResult:
    if attempt.lost is not None and time.monotonic() > attempt.send_before:
        return attempt.lost  # the thread was free too late
    attempt.replay = True
    return _ask_once(attempt)


def _ask_with_any_client(attempt: Attempt) -> RefreshResult:
    def ask_as(bound: Provider) -> RefreshResult:
        attempt.provider = bound
        outcome = _ask_once(attempt)
        if isinstance(outcome, ClientRejected):
            raise outcome
        return outcome

    try:
        return with_any_client(
            attempt.provider,
            attempt.clients,
            ask_as,
            on_refused=attempt.refused.append,
            ends=attempt.send_before,
        )
    except ClientRejected as error:
        return error.with_traceback(None)  # whose frames hold the tokens


def _note_asked(attempt: Attempt, moment: float) -> None:
    attempt.sent_at += timedelta(seconds=moment - attempt.counted_from)
    attempt.asked, attempt.counted_from = True, moment


def _ask_once(attempt: Attempt) -> RefreshResult:
    _note_asked(attempt, time.monotonic())
    try:
        return call_hook("refresh", lambda: _exchange(attempt))
    except ConnectedAccountsError as error:
        return error.with_traceback(None)  # whose frames hold the tokens


def _exchange(attempt: Attempt) -> TokenResponse:
    provider, endpoints, account = attempt.provider, attempt.endpoints, attempt.account
    scopes, key = account.scopes_requested, proof_key_of(attempt.document)
    if provider.grant_type == "client_credentials":
        return exchange_client_credentials(provider, endpoints, scopes, key)
    if provider.grant_type == "identity_assertion":
        id_token = Secret(attempt.document["id_token"])
        return exchange_id_token(provider, endpoints, id_token, scopes, key)
    return exchange_refresh_token(provider, endpoints, attempt.document, account.scopes_granted)
