"""The ledger knows which state of each row is the present one, beside it.

A row may be put back or copied by ways that call no code of ours: a revert, a fixture, SQL. It then
holds a refresh token that was spent since, or one that another row spends. Its ``seal_id`` and
``revision`` go with it; the ledger's own do not.

What the ledger has not heard of is entered only where its token opens. Of several rows with one
seal that is the original alone: of the others the owner, the provider or the subject is another.
"""

import uuid
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, Self

from django.apps import apps
from django.db import models, router
from django.db.models import F, OuterRef

from connected_accounts.database.compiled import (
    Compiled,
    IsOneOf,
    Keys,
    Parameter,
    array_text,
    can_compile,
    compiled_update,
    run,
)
from connected_accounts.database.new_rows import insert_one
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.sealing import Holder, opens
from connected_accounts.secret import Sealed


class Account(Holder, Protocol):
    """A row, as far as the ledger knows it."""

    pk: Any
    revision: int

    @property
    def token(self) -> Sealed | None: ...


class LedgerQuerySet(models.QuerySet["LedgerEntry"]):
    def current(self) -> Self:
        """From the database that is written to."""
        return self.using(router.db_for_write(self.model))

    def holder_of(self, seal_id: uuid.UUID) -> int | None:
        """The key of the account that holds a grant; None where it has ended, or is unknown."""
        found = self.current().filter(seal_id=seal_id).values_list("account_pk", flat=True)
        return found.first()

    def register(self, row: Account, using: str) -> bool:
        """Note whose a new row's seal is. False: it is another row's, or that of one that ended."""
        mine = {"account_pk": row.pk, "revision": row.revision}
        values, same = {"seal_id": row.seal_id, **mine}, {"seal_id": row.seal_id}
        if opens(row.token, row):
            unless = (self.model, same)
            if insert_one(self.model, values, using=using, unless=unless):
                return True
        return not self.using(using).filter(**same).exclude(**mine).exists()

    def register_all(self, rows: Iterable[Account], using: str) -> None:
        """The same for many new rows; a copy among them is found when it is first used."""
        entries = [
            LedgerEntry(seal_id=row.seal_id, account_pk=row.pk, revision=row.revision)
            for row in rows
            # A database that does not tell the keys: when first claimed.
            if row.pk is not None and opens(row.token, row)
        ]
        self.using(using).bulk_create(entries, ignore_conflicts=True)

    def follow(self, pks: Sequence[int], holder: uuid.UUID) -> int:
        """Note the next revision of accounts that were just claimed; return how many were known."""
        using = self.db
        if len(pks) > 1 and can_compile(using):
            return run(using, _following(using), {"pks": array_text(pks), "holder": holder})
        return self.filter(account_pk__in=pks)._held_by(holder).update(**_NEXT)

    def _held_by(self, holder: Any) -> Self:
        """The entries of the rows that are in these hands."""
        accounts: Any = apps.get_model("connected_accounts", "ConnectedAccount")
        same = {"pk": OuterRef("account_pk"), "seal_id": OuterRef("seal_id")}
        rows = accounts.objects.using(self.db).filter(**same, lease_holder=holder)
        return self.filter(models.Exists(rows))

    def advance(self, rows: Sequence[Account]) -> bool:
        """The same for rows that are at hand; whether all were known."""
        seals, using = [row.seal_id for row in rows], self.db
        if can_compile(using):
            return run(using, _advance(using), {"seals": array_text(seals)}) == len(rows)
        known = self.filter(seal_id__in=seals, account_pk__isnull=False)
        return known.update(**_NEXT) == len(rows)

    def advance_one(self, row: Account) -> bool:
        """The same for one row, which is passed as it was before. False: it is not the present."""
        mine = self.filter(seal_id=row.seal_id, account_pk=row.pk, revision=row.revision)
        return bool(mine.update(**_NEXT))

    def replace(self, row: Account) -> None:
        """Note the seal of a row's new grant; what it had before has ended."""
        self.filter(account_pk=row.pk).update(account_pk=None)
        entry = LedgerEntry(seal_id=row.seal_id, account_pk=row.pk, revision=row.revision)
        self.current().bulk_create([entry], ignore_conflicts=True)
        same = self.filter(seal_id=row.seal_id)
        same.update(account_pk=row.pk, revision=row.revision)

    def close(self, rows: Sequence[Account], using: str | None = None) -> set[int]:
        """Note that the grants of accounts have ended. Returns the keys of those that are copies of
        a row which lives on: their grant is not theirs to end."""
        entries = self.using(using or router.db_for_write(self.model))
        seals = {row.pk: row.seal_id for row in rows}
        entries.filter(account_pk__in=list(seals)).update(account_pk=None)
        ended = [
            LedgerEntry(seal_id=row.seal_id, revision=0) for row in rows if opens(row.token, row)
        ]
        entries.bulk_create(ended, ignore_conflicts=True)
        living = entries.filter(seal_id__in=list(seals.values()), account_pk__isnull=False)
        others = set(living.values_list("seal_id", flat=True))
        return {pk for pk, seal in seals.items() if seal in others}


class LedgerEntry(models.Model):
    """For one grant: the row that holds it, and the revision that this row is at.

    Without an ``account_pk`` the grant has ended. Entries stay: what ended is never the present
    again, however old the dump that it comes from. A fixture adds entries, and changes none.
    """

    seal_id = models.UUIDField(primary_key=True)
    account_pk = models.BigIntegerField(null=True, db_index=True)
    revision = models.PositiveBigIntegerField()

    objects = PrimaryManager.from_queryset(LedgerQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return str(self.seal_id)

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, *args: Any) -> Any:
        return base_qs.using(using).filter(pk=pk_val).exists()


_NEXT: Final = {"revision": F("revision") + 1}


@lru_cache(maxsize=8)
def _following(using: str) -> Compiled:
    """``LedgerQuerySet.follow``, of ``pks`` and a ``holder``."""
    pks = IsOneOf("account_pk", Keys("pks", models.BigIntegerField()))
    holder = Parameter("holder", models.UUIDField())
    mine = LedgerEntry.objects.using(using).filter(pks)._held_by(holder)
    return compiled_update(mine, _NEXT)


@lru_cache(maxsize=8)
def _advance(using: str) -> Compiled:
    """``LedgerQuerySet.advance``, of ``seals``."""
    seals = IsOneOf("seal_id", Keys("seals", models.UUIDField()))
    known = LedgerEntry.objects.using(using).filter(seals, account_pk__isnull=False)
    return compiled_update(known, _NEXT)


# The same for a statement that is written out.
PRESENT: Final = (LedgerEntry, "seal_id", (("account_pk", "id"), ("revision", "revision")))


def contradicts() -> models.Exists:
    """For accounts: whether the ledger says that a row is a copy, or a state that is past. A row
    that the ledger has never heard of is taken for what it is."""
    same = LedgerEntry.objects.filter(seal_id=OuterRef("seal_id"))
    present = models.Q(account_pk=OuterRef("pk"), revision=OuterRef("revision"))
    return models.Exists(same.exclude(present))
