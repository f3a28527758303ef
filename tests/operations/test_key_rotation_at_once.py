"""Keys are rotated while accounts are refreshed and rows are locked, on real databases."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from connected_accounts.operations import key_rotation
from connected_accounts.operations.key_rotation import rekey
from connected_accounts.operations.keys_in_use import count_by_key
from connected_accounts.sealing import seal_document
from tests.database.test_databases import accounts, database, store

__all__ = ["accounts", "database"]  # fixtures

KEYS = [Fernet.generate_key().decode() for _ in range(2)]
REFRESHERS = 3


def refresh_over_and_over(
    accounts: Any, pks: list[int], stop: threading.Event, stored: threading.Semaphore
) -> dict[int, int]:
    """Claim and store as a refresh does; return the number of the newest grant of each account."""
    newest = dict.fromkeys(pks, 0)
    try:
        while not stop.is_set():
            for pk in pks:
                holder = uuid.uuid4()
                if not accounts.all().claim([pk], holder=holder, seconds=60, now=timezone.now()):
                    continue
                row = accounts.with_token().get(pk=pk)
                assert row.open_token()["number"] == newest[pk], "a refresh was undone"
                number = newest[pk] + 1
                document = {"access_token": "x", "number": number}
                if row.mark_refreshed(token=seal_document(document, row)):
                    newest[pk] = number
                    stored.release()
    finally:
        connection.close()
    return newest


def test_a_rotation_undoes_no_refresh(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, write = threading.Semaphore(0), key_rotation._rekey_batch

    def let_others_store_first(model: Any, column: str, rows: list[Any], *arguments: Any) -> None:
        for _ in range(len(rows) // 2):
            assert stored.acquire(timeout=30)
        write(model, column, rows, *arguments)

    monkeypatch.setattr(key_rotation, "_rekey_batch", let_others_store_first)
    rows = []
    for number in range(12):
        row = store(accounts, f"subject-{number}")
        token = seal_document({"access_token": "x", "number": 0}, row)
        accounts.filter(pk=row.pk).transition(token=token)
        rows.append(row)
    pks, stop = [row.pk for row in rows], threading.Event()
    first = settings.FIELD_ENCRYPTION_KEY
    busy = resealed = 0
    with override_settings(FIELD_ENCRYPTION_KEY=[*KEYS, *first]), ThreadPoolExecutor() as pool:
        workers = [
            pool.submit(refresh_over_and_over, accounts, pks[n::REFRESHERS], stop, stored)
            for n in range(REFRESHERS)
        ]
        for turn in range(20):
            settings.FIELD_ENCRYPTION_KEY = [KEYS[turn % 2], KEYS[(turn + 1) % 2], *first]
            *_, figures = rekey()
            busy, resealed = busy + figures.busy, resealed + figures.resealed
        stop.set()
        newest = {pk: number for worker in workers for pk, number in worker.result(60).items()}
        kept = {row.pk: row.open_token()["number"] for row in accounts.with_token()}
        assert kept == newest
        assert min(resealed, busy, *newest.values()) > 0
        monkeypatch.undo()
        *_, figures = rekey()
        assert (figures.busy, len(count_by_key())) == (0, 1)


def test_a_row_that_somebody_has_locked_is_left_for_the_next_run(accounts: Any) -> None:
    locked, free = store(accounts, "locked"), store(accounts, "free")
    if not connection.features.has_select_for_update_skip_locked:
        pytest.fail("a database that cannot skip locked rows waits for them instead")
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                accounts.select_for_update().get(pk=locked.pk)
                taken.set()
                assert done.wait(30)
        finally:
            connection.close()

    keys = [KEYS[0], *settings.FIELD_ENCRYPTION_KEY]
    with override_settings(FIELD_ENCRYPTION_KEY=keys), ThreadPoolExecutor() as pool:
        holder = pool.submit(hold)
        assert taken.wait(30)
        *_, figures = rekey()
        done.set()
        holder.result(30)
        assert (figures.resealed, figures.busy) == (1, 1)
        *_, figures = rekey()
        assert (figures.to_do, figures.resealed, figures.busy) == (1, 1, 0)
        assert accounts.with_token().get(pk=free.pk).open_token()
