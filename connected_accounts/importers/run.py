"""Taking over connections that another package made: sealed, with what is known of them, and once.

An account that is there already is never touched, so a run may be stopped and started again. The
plain text it was read from is blanked only behind a row that was read back and opened.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.database.inserts import insert_all_apart
from connected_accounts.database.locks import retried
from connected_accounts.exceptions import Undecryptable
from connected_accounts.importers.accounts import Adoption, LeftAlone
from connected_accounts.importers.from_allauth import Allauth
from connected_accounts.importers.from_oauth2_capture import OAuth2Capture
from connected_accounts.importers.from_social_auth import SocialAuth
from connected_accounts.importers.rows import ForeignGrant, Source
from connected_accounts.models import ConnectedAccount, Event, Kind
from connected_accounts.models.deployment import adopt_database
from connected_accounts.provider_state.pauses import lock_state_row
from connected_accounts.providers.registry import get_provider
from connected_accounts.security import SecurityEvent

BATCH: Final = 500
SOURCES: Final[Mapping[str, type[Source]]] = {
    source.name: source for source in (Allauth, SocialAuth, OAuth2Capture)
}
Key = tuple[str, str, str]  # what is unique of an account: owner, alias, subject
Made = dict[Key, tuple[ConnectedAccount, ForeignGrant]]


@dataclass
class Imported:
    """The result of a run: rows read and blanked; accounts stored, or that a dry run would store,
    by alias; rows left alone by their provider's name there and the reason."""

    read: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    blanked: int = 0


def import_connections(
    source: Source,
    *,
    aliases: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
    blank: bool = False,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Iterator[Imported]:
    """Import everything there is; yields the figures so far, and again after each batch.

    ``aliases`` maps names there to aliases here, where they differ; ``scopes`` are what was granted
    where a row does not say. A dry run writes nothing. Must not run inside a transaction.
    """
    now = now or timezone.now()
    figures = Imported()
    adoption = Adoption(aliases or {}, tuple(scopes), now=now)
    yield figures
    last: Any = None
    while grants := source.batch(last, BATCH):
        last = grants[-1].pk
        figures.read += len(grants)
        _Batch(source, figures, dry_run=dry_run, blank=blank, now=now).take(adoption, grants)
        yield figures
    if not dry_run:
        for alias in figures.stored:
            security.log(SecurityEvent.IMPORTED, provider=alias, reason=source.name)


class _Batch:
    def __init__(
        self, source: Source, figures: Imported, *, dry_run: bool, blank: bool, now: datetime
    ) -> None:
        self.source, self.figures, self.now = source, figures, now
        self.dry_run, self.blank = dry_run, blank and not dry_run
        self.mark = f"imported from {source.name}"

    @sensitive_variables()
    def take(self, adoption: Adoption, grants: Sequence[ForeignGrant]) -> None:
        made: Made = {}
        for grant in grants:
            try:
                row = adoption.account(grant)
                if _key(row) in made:
                    raise LeftAlone("already_connected")
                made[_key(row)] = row, grant
            except LeftAlone as left:
                self.figures.skipped[grant.provider, left.reason] += 1
        sources = {key: grant for key, (_, grant) in made.items()}
        self._leave(made, _present(made), "already_connected")
        stored = self._store(made)
        self._leave(made, made.keys() - stored, "already_connected")
        self.figures.stored.update(alias for _, alias, _ in stored)
        if self.blank:
            self.figures.blanked += self.source.blank(self._sealed_safely(sources))

    def _leave(self, made: Made, keys: Any, reason: str) -> None:
        for key in keys:
            _, grant = made.pop(key)
            self.figures.skipped[grant.provider, reason] += 1

    def _store(self, made: Made) -> set[Key]:
        """Store the accounts that nobody has meanwhile; return what was stored, or would be."""
        aliases = {alias for _, alias, _ in made}
        exclusive = sorted(a for a in aliases if get_provider(a).config.exclusive)
        if self.dry_run:
            self._leave_refused(made, _refused(made, exclusive))
            return set(made)
        adopt_database()

        def write() -> tuple[dict[Key, str], list[ConnectedAccount]]:
            # durable: what is blanked afterwards must not be rolled back here.
            with transaction.atomic(using=router.db_for_write(ConnectedAccount), durable=True):
                for alias in exclusive:
                    lock_state_row(alias)
                refused = _refused(made, exclusive)
                free = [row for key, (row, _) in made.items() if key not in refused]
                rows = ConnectedAccount.objects.mark_imported(free)
                events = [self._event(row) for row in rows]
                insert_all_apart(events, f"events detail={self.mark}")
            return refused, rows

        refused, rows = retried(write)
        self._leave_refused(made, refused)
        return {_key(row) for row in rows}

    def _leave_refused(self, made: Made, refused: Mapping[Key, str]) -> None:
        for key, reason in refused.items():
            self._leave(made, [key], reason)

    def _event(self, row: ConnectedAccount) -> Event:
        return Event(
            at=self.now,
            kind=Kind.CONNECTED,
            provider=row.provider,
            owner_key=row.owner_key,
            subject=row.subject,
            label=row.display_name[:255],
            detail=self.mark,
        )

    def _sealed_safely(self, sources: Mapping[Key, ForeignGrant]) -> list[ForeignGrant]:
        """The rows whose account came from them, now or in an earlier run, and can be opened."""
        events = Event.objects.filter(
            kind=Kind.CONNECTED, detail=self.mark, owner_key__in={owner for owner, _, _ in sources}
        )
        imported = set(events.values_list("owner_key", "provider", "subject"))
        safe = []
        for row in _rows(sources).with_token():
            grant = sources.get(_key(row))
            if grant is None or not row.token:
                continue
            try:
                document = row.open_token()
            except Undecryptable:
                continue
            same = document["access_token"] == grant.payload["access_token"]
            if same or (row.owner_key, row.provider, row.subject) in imported:
                safe.append(grant)
        return safe


def _key(row: ConnectedAccount) -> Key:
    return row.owner_key, row.provider, row.subject_digest


def _rows(keys: Any) -> Any:
    """The accounts with these keys, and perhaps a few more of the same owners."""
    owners, aliases, digests = ({key[part] for key in keys} for part in range(3))
    return ConnectedAccount.objects.current().filter(
        owner_key__in=owners, provider__in=aliases, subject_digest__in=digests
    )


def _present(made: Made) -> set[Key]:
    rows = _rows(made).values_list("owner_key", "provider", "subject_digest")
    return set(made) & set(rows)


def _refused(made: Made, exclusive: Sequence[str]) -> dict[Key, str]:
    """The rows that are nobody's to have, each with its reason."""
    users = get_user_model()
    there = users._base_manager.using(router.db_for_write(users))
    pks = set(
        there.filter(pk__in={row.user_id for row, _ in made.values()}).values_list("pk", flat=True)
    )
    gone = {key: "no_user" for key, (row, _) in made.items() if row.user_id not in pks}
    others = {key: one for key, one in made.items() if key not in gone}
    return gone | dict.fromkeys(_in_use(others, exclusive), "account_in_use")


def _in_use(made: Made, exclusive: Sequence[str]) -> list[Key]:
    """The rows at an EXCLUSIVE provider whose account belongs to another owner, here or before them
    in the same batch."""
    exclusive_keys = [key for key in made if key[1] in exclusive]
    if not exclusive_keys:
        return []
    rows = ConnectedAccount.objects.current().filter(
        provider__in=exclusive, subject_digest__in={key[2] for key in exclusive_keys}
    )
    taken: dict[tuple[str, str], str] = {
        (alias, subject): owner
        for owner, alias, subject in rows.values_list("owner_key", "provider", "subject_digest")
    }
    return [key for key in exclusive_keys if taken.setdefault(key[1:], key[0]) != key[0]]
