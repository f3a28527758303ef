"""The guards of an account: Django's own ways of writing a row do what they may, and a site that
tries more is told. Its transitions alone write the columns that say which grant a row holds.

A copy of a row that was loaded before a refresh, a reconnect or an end holds what was true then. If
saving it wrote that back, the fence of a refresh in flight would be lowered, a spent token be used
again, or an ended grant come to life.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError
from django.db import DatabaseError, models, router, transaction

from connected_accounts.database.functions import subject_digest
from connected_accounts.database.updates import update_returning
from connected_accounts.models.bound_tokens import change_facts
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.owners import owner_key, owner_key_of
from connected_accounts.sealing import SealedTextField

# Whose row it is. Written together, by ``move_to_owner``, or by assigning another user.
OWNER: Final = frozenset({"user", "owner_key"})
# What says which grant the row holds, and who may use or replace it.
FENCED: Final = frozenset(
    {"token", "seal_id", "revision", "generation", "lease_holder", "lease_until"}
    | {"attempt_started_at", "status", "reason", "client_id", "endpoint_fingerprint", "owner_key"}
)
# What is known of that grant. A site may set these by ``update()``, which names them one by one.
ABOUT_THE_GRANT: Final = frozenset(
    {"expires_at", "refresh_token_expires_at", "refresh_at", "refreshed_at", "connected_at"}
    | {"failure_count", "last_error", "scopes_requested", "scopes_granted", "inputs", "host"}
)
BY_TRANSITIONS: Final = FENCED | ABOUT_THE_GRANT
NOT_BY_SAVE: Final = BY_TRANSITIONS | OWNER

# Tells an account from another to which its key was given since.
WHOSE_AT: Final = ("provider", "subject_digest")
_REMEMBERED: Final = BY_TRANSITIONS | {"id", "user_id", *WHOSE_AT}
_INSTEAD: Final = (
    "use connected_accounts.services: refresh(), disconnect(), move_to_owner(), or connect the "
    "account again"
)
# Which account it is: the token is sealed for that, too.
BOUND_TOO: Final = frozenset(WHOSE_AT)
Row = TypeVar("Row", bound=models.Model)
_SEALED: Final = SealedTextField(name="token")


def refuse_unsealed(token: Any) -> None:
    """Raise TypeError for what is not sealed; that it may not be written is the lesser fault."""
    _SEALED.refuse_unless_sealed(token)


def refuse(way: str, names: Iterable[str]) -> None:
    """Raise FieldError where there is a name: it may not be written that way."""
    if wrong := sorted(names):
        raise FieldError(
            f"{way} does not write {', '.join(wrong)} of an account that is stored: what it holds "
            f"may be older than what is true by now. Nothing was written; {_INSTEAD}."
        )


def _pk_of(user: Any) -> Any:
    """A user's primary key from what a foreign key is given. Raises FieldError for anything else,
    and for None."""
    if user is None:
        raise FieldError(
            "update(user=None) would make a person's account the site's own. Nothing was written; "
            "use connected_accounts.services: disconnect(), or move_to_owner(account, None)."
        )
    if hasattr(user, "resolve_expression"):
        raise FieldError("The new user of an account must be a value; nothing was written.")
    key: Any = get_user_model()._meta.pk
    return key.to_python(getattr(user, "pk", user))


class GuardedQuerySet(models.QuerySet[Row]):
    def update(self, **kwargs: Any) -> int:
        """As Django's. Raises FieldError for what only transitions write (``columns.FENCED``).

        Another ``user`` becomes the owner, with all that goes with it; None is refused, for that
        would make a person's account the site's own. So is a subject that is no value.
        """
        refuse_unsealed(kwargs.get("token"))
        refuse("update()", FENCED.intersection(kwargs))
        if isinstance(kwargs.get("subject"), str):
            kwargs["subject_digest"] = subject_digest(kwargs["subject"])
        elif ("subject" in kwargs) != ("subject_digest" in kwargs):
            raise FieldError(
                "The new subject of an account must be a value, which brings its digest; nothing "
                "was written."
            )
        for name in {"user", "user_id"}.intersection(kwargs):
            user_pk = _pk_of(kwargs.pop(name))
            accounts = cast(Any, self)  # which know what goes with a new owner
            return int(accounts.move_to(owner_key_of(user_pk), user_pk, **kwargs))
        if BOUND_TOO.isdisjoint(kwargs):
            return super().update(**kwargs)
        rows = list(self.using(self._write_database()))
        those = self.filter(pk__in=[row.pk for row in rows])  # and none that comes meanwhile
        return change_facts(rows, lambda: super(GuardedQuerySet, those).update(**kwargs), {*kwargs})

    update.alters_data = True  # type: ignore[attr-defined]

    def transition(self, **values: Any) -> int:
        """``update`` for transitions, which alone know when these columns may be written."""
        return super().update(**values)

    transition.alters_data = True  # type: ignore[attr-defined]

    def transition_returning(self, read_too: Mapping[str, str], **values: Any) -> list[Row]:
        """``transition``, and the rows as they are by then; for ``read_too`` see
        ``statements.read_one``. Only where ``statements.can_return`` says so."""
        return update_returning(self, values, read_too)

    transition_returning.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Any, fields: Any, batch_size: Any = None) -> int:
        """As Django's. Raises FieldError for what only transitions write."""
        objs, fields = tuple(objs), tuple(fields)
        if "subject" in fields:
            fields = (*(n for n in fields if n != "subject_digest"), "subject_digest")
            for row in objs:
                row.subject_digest = subject_digest(row.subject)
        for row in objs if "token" in fields else ():
            refuse_unsealed(row.token)
        refuse("bulk_update()", (BY_TRANSITIONS | OWNER).intersection(fields))
        count = super().bulk_update(objs, fields, batch_size=batch_size)
        for row in objs:
            row._remember(BOUND_TOO.intersection(fields))
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Row]:
        """As Django's. Raises FieldError where ``update_fields`` names what only transitions
        write."""
        named = kwargs.get("update_fields") or ()
        refuse("bulk_create(update_fields=…)", (BY_TRANSITIONS | OWNER).intersection(named))
        rows = super().bulk_create(objs, *args, **kwargs)
        if not kwargs.get("update_conflicts") and not kwargs.get("ignore_conflicts"):
            LedgerEntry.objects.register_all(cast(Any, rows), self._write_database())
        return rows

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _write_database(self) -> str:
        return self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]


class GuardedModel(models.Model):
    """The saving of an account: an object writes what is the site's, and nothing that its
    transitions do."""

    user: Any
    user_id: Any
    owner_key: Any
    subject: Any
    subject_digest: Any
    token: Any
    seal_id: Any
    revision: Any
    _as_read: Mapping[str, Any] = {}  # an object's own, once it was stored

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new account, or of one that is stored what is the site's to write: its label.

        What only transitions write is left as the database has it by now. Raises FieldError where
        it was changed on this object, or is named in ``update_fields``; DoesNotExist where the
        account was disconnected meanwhile. Another ``user`` becomes its owner.
        """
        self.subject_digest = subject_digest(self.subject)
        if self._state.adding or self.pk is None or self.pk != self._as_read.get("id"):
            self.owner_key = self.owner_key or owner_key(self.user if self.user_id else None)
            super().save(*args, **kwargs)
            return
        self._refuse_changes(kwargs.get("update_fields"))
        if not kwargs.get("force_insert"):
            kwargs["force_update"] = True
        known, noted = self.__dict__, {"_as_read", "owner_key"}
        before: dict[str, Any] = {name: known[name] for name in noted.intersection(known)}
        try:
            with transaction.atomic(using=kwargs.get("using") or router.db_for_write(type(self))):
                self._write_what_a_token_is_bound_to(kwargs.get("update_fields"))
                super().save(*args, **kwargs)
        except Exception as error:
            known.pop("owner_key", None)
            known.update(before)  # the next try has it all to write
            if not _says_no_row(error) or kwargs.get("force_insert"):
                raise
            raise self.DoesNotExist(
                "This account was disconnected meanwhile; nothing was saved."
            ) from None

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **kwargs: Any) -> Any:
        row = super().from_db(db, field_names, values, **kwargs)
        row._remember()
        return row

    def refresh_from_db(
        self, using: str | None = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        super().refresh_from_db(using, fields, from_queryset)
        # A deferred column is loaded by itself: what was assigned to others is still a change.
        self._remember(_REMEMBERED if fields is None else _REMEMBERED.intersection(fields))

    def _remember(self, names: Iterable[str] = _REMEMBERED) -> None:
        """Note what the columns of transitions hold, to see a change."""
        known, before = self.__dict__, self._as_read
        self._as_read = {**before, **{name: known[name] for name in names if name in known}}

    def _refuse_changes(self, update_fields: Any) -> None:
        if "token" in self.__dict__ and (update_fields is None or "token" in update_fields):
            refuse_unsealed(self.token)
        named = frozenset(update_fields or ())
        added = {f.name for f in self._meta.local_concrete_fields if _has_own_pre_save(f)}
        if added <= named:  # Django's update_or_create names these by itself
            named -= added
        refuse("save(update_fields=…)", BY_TRANSITIONS & named)
        refuse("save()", filter(self._was_changed, BY_TRANSITIONS))

    def _was_changed(self, name: str) -> bool:
        """Whether a value was assigned that is not what was read."""
        if name not in self.__dict__:
            return False
        return name not in self._as_read or self.__dict__[name] != self._as_read[name]

    def _write_what_a_token_is_bound_to(self, update_fields: Any) -> None:
        named = {"user_id", "provider", "subject"}
        if update_fields is not None:
            named &= {*update_fields} | ({"user_id"} if "user" in update_fields else set())
        told_by = {"user_id": "user_id", "provider": "provider", "subject": "subject_digest"}
        changed = {n: self.__dict__[n] for n in named if self._was_changed(told_by[n])}
        if changed:
            before = {name: self._as_read[name] for name in WHOSE_AT if name in self._as_read}
            same: Any = type(self)._base_manager.filter(pk=self.pk, **before)
            same.update(**changed)
            if "user_id" in changed:
                self.owner_key = owner_key_of(self.user_id)
            self._remember()

    def _save_table(
        self,
        raw: bool = False,
        cls: Any = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: Any = None,
        update_fields: Any = None,
    ) -> Any:
        """Where Django stores an instance, whichever way it came: enter a new row in the ledger."""
        save_table = super()._save_table  # type: ignore[misc]  # the stubs do not know it
        updated = save_table(raw, cls, force_insert, force_update, using, update_fields)
        new = not updated and any(f.name == "seal_id" for f in cls._meta.local_fields)
        if new and not LedgerEntry.objects.register(cast(Any, self), using):
            self._mark_copy(using)
        self._remember()
        return updated

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *args: Any) -> Any:
        """Where Django updates the row of an instance, fixtures too: not what transitions write,
        and not the row of another account that was given the same key since."""
        written = [value for value in values if value[0].name not in NOT_BY_SAVE]
        known = {**self.__dict__, **self._as_read}
        same = base_qs.filter(**{name: known[name] for name in WHOSE_AT if name in known})
        return super()._do_update(same, using, pk_val, written, *args)

    def _mark_copy(self, using: str) -> None:
        raise NotImplementedError  # by the account, which knows its statuses


def _says_no_row(error: Exception) -> bool:
    """Whether it is Django's word that no row was there, and not an error of the database's own."""
    return isinstance(error, DatabaseError) and error.__cause__ is None


def _has_own_pre_save(field: Any) -> bool:
    return field.__class__.pre_save is not models.Field.pre_save
