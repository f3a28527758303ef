"""The connected account, alone and many at a time, and every transition of it.

The ``mark_…`` methods are the only writers of ``status``; each is one conditional UPDATE that says
whether it won. Where it brings a new grant or ends one, the ledger follows in the same transaction.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Self, cast

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError, models, router, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from connected_accounts import security
from connected_accounts.database.compiled import (
    Compiled,
    IsOneOf,
    Keys,
    Parameter,
    array_text,
    can_compile,
    compiled_update,
)
from connected_accounts.database.fields import ExactCharField
from connected_accounts.database.functions import DatabaseNow, subject_digest
from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.updates import can_return, run_returning, update_all, update_one
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models.bound_tokens import bound_facts, change_facts
from connected_accounts.models.choices import Reason, Status
from connected_accounts.models.guards import WHOSE_AT, GuardedModel, GuardedQuerySet
from connected_accounts.models.history import Event, Kind, Revocation, display_name
from connected_accounts.models.lease import AFTER_SUCCESS, LEASE_IS_FREE, LEASE_RELEASED
from connected_accounts.models.ledger import LedgerEntry, contradicts
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.owners import owner_key, owners_of
from connected_accounts.sealing import (
    SealedTextField,
    open_document,
    with_what_was_left_out,
)
from connected_accounts.secret import SecretFields

_WHICH: Final = ("owner_key", *WHOSE_AT)
_OF_THE_GRANT: Final = (
    *("seal_id", "client_id", "endpoint_fingerprint", "inputs", "host", "generation"),
)


def owner_state() -> dict[str, str]:
    """The column to read ``owner_is_active`` from; empty for a user model without it."""
    return _state_of(get_user_model())


@cache
def _state_of(user_model: Any) -> dict[str, str]:
    try:
        user_model._meta.get_field("is_active")
    except FieldDoesNotExist:
        return {}
    return {"owner_is_active": "user__is_active"}


def has_active_owner() -> Q:
    """For accounts: that none is deactivated whose they are. A join to the users, in place of this
    subquery, takes PostgreSQL twice as long to plan as the rest of a short SELECT."""
    if not owner_state():
        return Q()
    users: Any = models.QuerySet(get_user_model())  # those whom a site's manager leaves out, too
    return ~Q(models.Exists(users.filter(is_active=False, pk=models.OuterRef("user"))))


class ConnectedAccountQuerySet(GuardedQuerySet["ConnectedAccount"]):
    is_queued_for_revocation = False  # what it deletes has its Revocation already

    def move_to(self, key: str, user_pk: Any, *, by: str = "", **values: Any) -> int:
        """Give the accounts to another owner, with the credentials of their own that they were made
        with; ``user_pk`` is None for an owner who is no user. Return how many they are.

        Raises IntegrityError where the owner has the same account of a provider already, and
        Undecryptable where a token cannot be sealed for its new owner.
        """
        using = self._write_database()
        rows = list(self.using(using))
        those = self.filter(pk__in=[row.pk for row in rows])  # and none that comes meanwhile
        moved = [row for row in rows if row.owner_key != key]
        try:
            with transaction.atomic(using=using):
                values |= {"owner_key": key, "user": user_pk}
                count = change_facts(rows, lambda: those.transition(**values), set(values))
                ProviderClient = apps.get_model("connected_accounts", "ProviderClient")
                ProviderClient.objects.using(using).copy_to_owner(moved, key)
                Event.record_moves(moved, key, by=by, using=using)
        except IntegrityError as error:
            raise IntegrityError(
                "Nothing was moved: the new owner is unknown, or has an account of the same person "
                "at the same provider already. Disconnect one of the two first."
            ) from error
        return count

    move_to.alters_data = True  # type: ignore[attr-defined]

    def for_user(self, user: Any) -> Self:
        """The accounts of one user; of the site itself for None; nobody's for an anonymous one."""
        if user is not None and user.pk is None:
            return self.none()
        return self._of([owner_key(user)], user)

    def _of(self, keys: list[str], user: Any) -> Self:
        """The accounts of these owners. A row in which SQL has written another user is nobody's."""
        user_pk = None if user is None else user.pk
        whose = models.Q(user__isnull=True) | models.Q(user_id=user_pk)
        return self.filter(whose, owner_key__in=keys)

    def for_owner(self, key: str) -> Self:
        """The accounts of one owner, by its key, such as ``team:7``; whoever asks."""
        return self.filter(owner_key=key)

    def visible_to(self, user: Any) -> Self:
        """A user's own accounts, and those of the owners that the site's ``OWNERS`` names for it.
        To see one is not to be allowed anything with it: see ``usable_by``."""
        return self._of(list(owners_of(user)), user)

    def usable_by(self, user: Any) -> Self:
        """The visible accounts whose tokens the user may have used."""
        usable = [owner.key for owner in owners_of(user).values() if owner.may_use]
        return self._of(usable, user)

    def at(self, provider: str) -> Self:
        return self.filter(provider=provider)

    def active(self) -> Self:
        return self.filter(status=Status.ACTIVE)

    def renewable(self) -> Self:
        """Active accounts, and those that ended by a refusal, which are tried seldom."""
        return self.filter(Q(status=Status.ACTIVE) | Q(reason=Reason.REFUSED))

    def due_for_refresh(self, now: datetime) -> Self:
        """Accounts whose refresh is due and in nobody's hands, oldest due first."""
        due = self.renewable().filter(refresh_at__lte=now)
        return due.filter(LEASE_IS_FREE).order_by("refresh_at")

    def current(self) -> Self:
        """From the database that is written to: a replica may still hold what was spent."""
        return self.using(router.db_for_write(self.model))

    def with_token(self) -> Self:
        """Load the sealed token too, which lists and cascades leave in the database."""
        return self.defer(None)

    def with_originality(self) -> Self:
        """``is_original`` is read too: whether a row is what the ledger knows for the present."""
        return self.annotate(is_original=~contradicts())

    def with_owner_state(self) -> Self:
        """``owner_is_active`` is read too; an account of the site's own counts as active."""
        known = {n: Coalesce(path, models.Value(True)) for n, path in owner_state().items()}
        return self.annotate(**known)

    def claim(
        self,
        pks: Sequence[int],
        *,
        holder: uuid.UUID,
        seconds: float,
        now: datetime,
        due_at: datetime | None = None,
    ) -> "list[ConnectedAccount]":
        """Take the lease of those that are renewable and free, and still due at ``due_at``; return
        what was taken, with tokens and the state of owners, oldest due first. It is the keys that
        say which, and no filter of this query set.

        ``attempt_started_at`` keeps the start of an earlier attempt whose answer is unknown: a
        value older than ``now`` after the claim means that the token may have been spent already.
        Lease times are the database's clock, so that workers' clocks may differ.
        """
        if not pks:
            return []
        given = {"pks": pks, "holder": holder, "lease": timedelta(seconds=seconds), "now": now}
        given |= {} if due_at is None else {"due_at": due_at}
        # By their keys: there is no index on the holder, and the table may be large.
        mine: Any = self.model._default_manager.current().filter(pk__in=pks, lease_holder=holder)
        with transaction.atomic(using=mine.db, savepoint=False):
            taken = mine._taken(given)
            if not taken:
                return []
            known = LedgerEntry.objects.follow(pks, holder)
            if known != len(taken) and mine._adopt(taken):
                held = set(mine.values_list("pk", flat=True))
                taken = [row for row in taken if row.pk in held]
        return sorted(taken, key=lambda row: row.refresh_at or now)

    def _taken(self, given: dict[str, Any]) -> "list[ConnectedAccount]":
        """The rows that are ours by what this writes into those that are free; see ``claim``."""
        # One by itself is looked for by its key, which at SERIALIZABLE meets fewer others.
        if len(given["pks"]) > 1 and can_compile(self.db):
            given = {**given, "pks": array_text(given["pks"])}
            claiming = _claiming(self.db, "due_at" in given)
            return run_returning(self.model, self.db, claiming, given, owner_state())
        given = {**given, "now": models.Value(given["now"], models.DateTimeField())}
        rows = ConnectedAccount.objects.using(self.db).filter(pk__in=given["pks"])
        free, values = _free(rows, given)
        if can_return(self.db):
            return free.transition_returning(owner_state(), **values)
        if not free.transition(**values):
            return []
        return list(self.with_token().with_owner_state())

    def give_back(self, pks: Sequence[int], *, holder: uuid.UUID, now: datetime) -> None:
        """Undo a claim, as far as it came; see ``claim``."""
        mine = self.filter(pk__in=pks, lease_holder=holder)
        mine.filter(attempt_started_at=now).transition(**LEASE_RELEASED, attempt_started_at=None)
        mine.transition(**LEASE_RELEASED)

    def _adopt(self, taken: "Sequence[ConnectedAccount]") -> int:
        """Enter in the ledger what was stored without our knowledge, by SQL or a fixture, and was
        just claimed. The lease of those that are copies by that is given back, and their number
        returned."""
        LedgerEntry.objects.register_all(taken, router.db_for_write(self.model))
        return self.copies().transition(**LEASE_RELEASED)

    def copies(self) -> Self:
        """Those that the ledger knows for copies of other rows, or for what is past."""
        return self.filter(contradicts())

    def mark_unresolved(self, *, since: datetime) -> int:
        """Note that the refresh token of each may have been spent; return how many they are."""
        self.filter(attempt_started_at__isnull=True).transition(attempt_started_at=since)
        return self.count()

    def mark_connected(
        self,
        *,
        user: Any,
        owner: str,
        provider: str,
        subject: str,
        values: dict[str, Any],
        is_known: bool = True,
    ) -> "tuple[ConnectedAccount, bool]":
        """Create the account of an owner, or put a new grant into it; return it and whether it is
        new. The new generation makes a refresh in flight come too late. ``is_known``: whether a row
        of it may be there, as a look a moment ago said.

        Raises IntegrityError where another tab of the same person was faster: the transaction is to
        be repeated, so that its grant is seen, and withdrawn with the account.
        """
        values = {
            **AFTER_SUCCESS,
            **values,
            "subject": subject,
            "status": Status.ACTIVE,
            "refreshed_at": None,
        }
        one = {"owner_key": owner, "provider": provider, "subject_digest": subject_digest(subject)}
        same = self.filter(**one)
        if is_known and update_one(self.model, values, one, increment="generation"):
            return self._replaced(same), False
        create = partial(self.create, user=user, owner_key=owner, provider=provider, **values)
        return insert_in_step(self.model, create), True

    def _replaced(self, same: Self) -> "ConnectedAccount":
        row = same.current().get()
        LedgerEntry.objects.replace(row)
        return row

    def mark_imported(self, rows: "Sequence[ConnectedAccount]") -> "list[ConnectedAccount]":
        """Store accounts that another package had; return those that were. One that is there by now
        stays as it is."""
        for row in rows:
            row.pk, row._state.adding = None, True  # a try before this one may have been undone
        try:
            return list(insert_in_step(self.model, lambda: self.bulk_create(rows)))
        except IntegrityError:
            return [row for row in rows if self._insert_if_new(row)]

    def _insert_if_new(self, row: "ConnectedAccount") -> bool:
        row.pk, row._state.adding = None, True
        try:
            insert_in_step(self.model, partial(row.save, force_insert=True))
        except IntegrityError:
            return False
        return True

    def mark_all_refreshed(
        self, grants: "Sequence[tuple[ConnectedAccount, dict[str, Any]]]"
    ) -> bool:
        """``mark_refreshed`` for several accounts in one transaction: all of them, or none where
        one is no longer ours. The same columns for each."""
        rows = [
            (
                {"status": Status.ACTIVE, **AFTER_SUCCESS, **values, "revision": row.revision + 1},
                row,
            )
            for row, values in grants
        ]
        using = router.db_for_write(self.model)
        with transaction.atomic(using=using):
            if not update_all(
                self.model, [(values, row.fence() | bound_facts(row)) for values, row in rows]
            ):
                return False
            if not LedgerEntry.objects.advance([row for _, row in rows]):
                transaction.set_rollback(True, using=using)
                return False
        for values, row in rows:
            row.take_over(values)
        return True

    def mark_endpoints_confirmed(self, before: str, after: str, *, now: datetime) -> int:
        """Let tokens go to other hosts, as an operator confirmed. Accounts that had ended for it
        are due again."""
        known = self.filter(endpoint_fingerprint=before)
        renewed = {
            "endpoint_fingerprint": after,
            "status": Status.ACTIVE,
            "reason": "",
            "last_error": "",
            "failure_count": 0,
            "refresh_at": now,
        }
        ended = known.filter(reason=Reason.ENDPOINTS_CHANGED).transition(**renewed)
        return ended + known.active().transition(endpoint_fingerprint=after)


def _free(
    rows: ConnectedAccountQuerySet, given: dict[str, Any]
) -> tuple[ConnectedAccountQuerySet, dict[str, Any]]:
    """Those of the rows that may be claimed, and what is written into them: see ``claim``. The
    values ``given`` may be parameters of a compiled statement."""
    free = rows.renewable().filter(~contradicts(), LEASE_IS_FREE)
    if "due_at" in given:
        free = free.filter(refresh_at__lte=given["due_at"])
    return free, {
        "lease_holder": given["holder"],
        "lease_until": DatabaseNow() + given["lease"],
        "generation": F("generation") + 1,
        "revision": F("revision") + 1,
        "attempt_started_at": Coalesce("attempt_started_at", given["now"]),
    }


@lru_cache(maxsize=8)
def _claiming(using: str, is_due: bool) -> Compiled:
    """The claim of ``pks``, with ``holder``, ``lease``, ``now`` and, if they must be due,
    ``due_at``."""
    rows, moment = ConnectedAccount.objects.using(using), models.DateTimeField()
    given: dict[str, Any] = {
        "holder": Parameter("holder", models.UUIDField()),
        "lease": Parameter("lease", models.DurationField()),
        "now": Parameter("now", moment),
    }
    given |= {"due_at": Parameter("due_at", moment)} if is_due else {}
    pks = IsOneOf("pk", Keys("pks", models.BigIntegerField()))
    free, values = _free(rows.filter(pks), given)
    return compiled_update(free, values)


if TYPE_CHECKING:
    # What from_queryset makes, in words that every type checker reads.
    class _FromQuerySet(ConnectedAccountQuerySet, PrimaryManager["ConnectedAccount"]):  # type: ignore[misc]
        pass

else:
    _FromQuerySet = PrimaryManager.from_queryset(ConnectedAccountQuerySet)


class TokenlessManager(_FromQuerySet):
    """Leaves the sealed token in the database, so that nothing opens or copies it by accident."""

    def get_queryset(self) -> ConnectedAccountQuerySet:
        return cast("ConnectedAccountQuerySet", super().get_queryset()).defer("token")


class ConnectedAccount(GuardedModel):
    """One person's (or a team's, or the site's) grant at one provider, with its sealed tokens."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="connected_accounts",
        verbose_name=_("user"),
    )
    owner_key = models.CharField(max_length=128, editable=False)
    provider = ExactCharField(_("provider"), max_length=64)
    subject = models.TextField(_("subject"))
    subject_digest = ExactCharField(max_length=43, editable=False)
    label = models.CharField(_("label"), max_length=255, blank=True)

    status = models.CharField(
        _("status"), max_length=32, choices=Status.choices, default=Status.ACTIVE
    )
    # What the site wanted; of that what was sent to the provider; what it granted.
    scopes_wanted = models.JSONField(_("scopes wanted"), default=list)
    scopes_requested = models.JSONField(_("scopes requested"), default=list)
    scopes_granted = models.JSONField(_("scopes granted"), default=list)
    connected_at = models.DateTimeField(_("connected at"))
    # False: there is nothing to refresh with; it ends with its access token.
    is_renewable = models.BooleanField(_("can be renewed"), default=True)

    seal_id = models.UUIDField(default=uuid.uuid4, editable=False)
    client_id = ExactCharField(max_length=255, editable=False)
    endpoint_fingerprint = models.CharField(max_length=64, editable=False)
    inputs = models.JSONField(default=dict, editable=False)
    # The one of its alias's many hosts that ``inputs`` lead to: ``Provider.host``.
    host = ExactCharField(max_length=255, blank=True, editable=False)

    # From here on, in this order, is what a refresh writes: of a row whose next version is in the
    # same page PostgreSQL logs only the stretch that differs. A claim writes from ``generation`` to
    # ``lease_holder``.
    refresh_token_expires_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    refresh_at = models.DateTimeField(_("next refresh"), null=True, blank=True)
    refreshed_at = models.DateTimeField(_("last refreshed"), null=True, blank=True)
    # The first of the definite refusals since the last success.
    refused_since = models.DateTimeField(null=True, editable=False)
    generation = models.PositiveBigIntegerField(default=0, editable=False)
    # Goes up with each claim, each stored grant and each end: see the ledger.
    revision = models.PositiveBigIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    attempt_started_at = models.DateTimeField(null=True, editable=False)
    lease_holder = models.UUIDField(null=True, editable=False)
    failure_count = models.PositiveIntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=32, choices=Reason.choices, blank=True)
    token = SealedTextField(null=True)

    objects = TokenlessManager()

    # Read by ``with_owner_state()``.
    owner_is_active: bool = True
    # Read where a token is about to be used. False: the row is a copy, or was put back.
    is_original: bool = True
    # Set when the account is deleted: what is owed to the provider.
    revocation: Revocation | None = None
    # Set before it is deleted: by whom, where that is not its owner.
    deleted_by: str = ""

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("connected account")
        verbose_name_plural = _("connected accounts")
        constraints = (
            models.UniqueConstraint(
                fields=["owner_key", "provider", "subject_digest"],
                name="connected_accounts_one_row_per_account",
            ),
        )
        indexes = (
            # The figures of connections_status and the admin are counted in it alone, too: one
            # more index would be written with each grant.
            models.Index(
                fields=["provider", "refresh_at", "status", "failure_count"],
                name="connected_accounts_due",
            ),
            # Who else has the same account of the provider.
            models.Index(fields=["provider", "subject_digest"], name="connected_accounts_subject"),
        )

    def __str__(self) -> str:
        return f"{self.provider}: {self.display_name}"

    def note_stored(self, pk: int, *, using: str) -> None:
        """Note that this new account was stored, under this key, by a statement of ours."""
        self.pk, self._state.adding, self._state.db = pk, False, using
        self._remember()

    def _mark_copy(self, using: str) -> None:
        """End a row that was just inserted: its grant is another row's, or has ended."""
        reason, now = Reason.RESTORED_COPY, timezone.now()
        if self.mark_reconnect_required(reason, using=using):
            Event.record(Kind.RECONNECT_REQUIRED, self, at=now, detail=reason.value, using=using)

    @property
    def display_name(self) -> str:
        """Which account it is, for people: the label, and the host, account or server that the
        person chose."""
        return display_name(self.label or self.subject, self.inputs)

    def open_token(self) -> SecretFields:
        """Decrypt the token document: ``access_token``, ``refresh_token`` and what came with them,
        by ``[]`` and ``get``; None for what did not. The only way to it. Raises Undecryptable."""
        try:
            return with_what_was_left_out(open_document(self.token, self))
        except Undecryptable as error:
            security.log(
                security.SecurityEvent.UNDECRYPTABLE,
                provider=self.provider,
                owner=self.owner_key,
                account=self.pk,
                reason=error.code,
            )
            raise

    @property
    def needs_reconnect(self) -> bool:
        return self.status == Status.RECONNECT_REQUIRED

    def which(self) -> dict[str, Any]:
        """Conditions that tell the same owner's same account from another to which its key was
        given since, as far as they are loaded."""
        return {"pk": self.pk} | {n: self.__dict__[n] for n in _WHICH if n in self.__dict__}

    def reload(self, **which: Any) -> None:
        """Load this object anew, of whichever class it is, from the database that is written to.
        Raises DoesNotExist where no row meets ``which``."""
        rows = ConnectedAccountQuerySet(type(self)).current().defer("token")
        self.refresh_from_db(from_queryset=rows.filter(**which))

    def is_same_as(self, row: Any) -> bool:
        """Whether ``row``, which was read by this one's key, is the same account; None is not."""
        known = vars(self)
        return row is not None and all(known[n] == getattr(row, n) for n in _WHICH if n in known)

    # Transitions.

    def fence(self) -> dict[str, Any]:
        """The conditions under which we may still write this row: nobody has taken it from us."""
        return {"id": self.pk, "generation": self.generation, "lease_holder": self.lease_holder}

    def take_over(self, values: Mapping[str, Any]) -> None:
        """Set on the instance what was just stored."""
        vars(self).update(values)  # plain columns
        self._remember()

    def mark_refreshed(self, *, put_back: bool = False, **values: Any) -> bool:
        """Store a refreshed grant and release the lease. False: the row is no longer ours.

        ``put_back``: over whatever the row holds now, which somebody put back to an earlier state
        while we asked. False then: the ledger says that the grant has gone on, or ended, since.
        """
        values |= {"status": Status.ACTIVE, **AFTER_SUCCESS}
        if put_back:
            values = {name: getattr(self, name) for name in _OF_THE_GRANT} | values
        fence = {"id": self.pk} if put_back else self.fence()
        held = {name: v for name, v in bound_facts(self).items() if name not in values}
        return self._advance(values, fence | held, known=True)

    def mark_failed(
        self,
        error: str,
        *,
        retry_at: datetime | None,
        attempt_started_at: datetime | None,
        refused_since: datetime | None = None,
    ) -> bool:
        """Note a failure that will be tried again; without an ``attempt_started_at`` nothing was
        spent. ``refused_since``: it was a definite refusal, the first of them then."""
        return self._transition(
            failure_count=self.failure_count + 1,
            last_error=error[:64],
            refresh_at=retry_at,
            attempt_started_at=attempt_started_at,
            refused_since=refused_since or self.refused_since,
        )

    def mark_reconnect_required(
        self, reason: Reason, *, retry_at: datetime | None = None, using: str | None = None
    ) -> bool:
        """End the grant: the person must connect again. Never retried, but for a refusal without a
        reason, which may end by itself: that at ``retry_at``."""
        values = {
            "status": Status.RECONNECT_REQUIRED,
            "reason": reason,
            "last_error": reason.value,
            "refresh_at": retry_at,
            "attempt_started_at": None,
        }
        if reason == Reason.RESTORED_COPY:  # the ledger knows better what is the present
            return self._transition(using=using, **values)
        return self._advance(values, self.fence(), known=False)

    def mark_not_renewable(self) -> bool:
        """Note that there is nothing to refresh with; the access token is good to its end, and the
        account is looked at then."""
        return self._transition(
            refresh_at=self.expires_at, is_renewable=False, attempt_started_at=None
        )

    def release(self, *, attempt_started_at: datetime | None, **values: Any) -> bool:
        """Give the lease back without an attempt having been made."""
        return self._transition(attempt_started_at=attempt_started_at, **values)

    def mark_undecryptable(self, code: str, *, at: datetime) -> bool:
        """Note, once, that the token does not open. The status stays: a key that comes back heals
        the row."""
        rows = ConnectedAccount.objects.filter(pk=self.pk).exclude(last_error="undecryptable")
        if not rows.transition(last_error="undecryptable"):
            return False
        Event.record(Kind.UNDECRYPTABLE, self, at=at, detail=code)
        return True

    def _transition(self, using: str | None = None, **values: Any) -> bool:
        values |= LEASE_RELEASED
        rows = ConnectedAccount.objects.using(using).filter(**self.fence())
        won = rows.transition(**values) == 1
        if won:
            self.take_over(values)
        return won

    def _advance(self, values: dict[str, Any], fence: dict[str, Any], *, known: bool) -> bool:
        """A transition that makes what the row held its past. ``known``: only where the ledger has
        that for the present."""
        values |= {**LEASE_RELEASED, "revision": self.revision + 1}
        using = router.db_for_write(ConnectedAccount)
        with transaction.atomic(using=using):
            if ConnectedAccount.objects.filter(**fence).transition(**values) != 1:
                return False
            if not LedgerEntry.objects.advance_one(self) and known:
                transaction.set_rollback(True, using=using)
                return False
        self.take_over(values)
        return True
