"""Ctrl-C at any line that a drain or a refresh runs in its thread, in Django's own beginnings and
ends of transactions too.

``CONNECTED_ACCOUNTS_INTERRUPT_ALL=1`` tries each line, and not a sample of them.
"""

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import django.db
import pytest
from django.db import connection
from django.utils import timezone

import connected_accounts
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh.drain import drain
from connected_accounts.services import refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import stored

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # An interrupt while a generator is closed goes nowhere, as Python has it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
OURS, DJANGOS = (str(Path(found.__file__).parent) for found in (connected_accounts, django.db))
EVERY = "CONNECTED_ACCOUNTS_INTERRUPT_ALL" in os.environ
SAMPLE = 20


class Interrupted:
    """Within ``with``, KeyboardInterrupt is raised at one of the lines that run; 0: at none."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.lines, self.where = at, 0, ""

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        ours = code.co_filename.startswith((OURS, DJANGOS))
        # Between a lock's release and the next line Python heeds no signal.
        if not ours or code.co_name == "allow_thread_sharing":
            return None
        self.lines += event in ("call", "line")
        if self.lines == self.at and not self.where:
            self.where = f"{code.co_name}, {code.co_filename}:{frame.f_lineno}"
            raise KeyboardInterrupt
        return self.trace

    def __enter__(self) -> "Interrupted":
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, kind: Any, *args: Any) -> bool:
        sys.settrace(self.before)
        return kind is KeyboardInterrupt


def refresh_first() -> None:
    refresh(ConnectedAccount.objects.order_by("pk")[0])


@pytest.mark.parametrize("work", [lambda: drain("badgr"), refresh_first], ids=["drain", "refresh"])
def test_an_interrupt_at_any_line_loses_no_answer_and_leaves_no_lease(
    work: Callable[[], object],
    django_user_model: Any,
    badgr: FakeProvider,
    app_settings: Callable[..., None],
) -> None:
    app_settings(REFRESH_CONCURRENCY=2)
    people = [django_user_model.objects.create(username=f"p{number}") for number in range(3)]
    accounts = [connect_account(badgr, person, subject=person.username) for person in people]

    def run(at: int) -> Interrupted:
        now = timezone.now()
        ConnectedAccount.objects.update(refresh_at=now, expires_at=now)
        with Interrupted(at) as run:
            work()
        # Where nothing was claimed yet, or all is stored, Django's own affairs are left alone.
        connection.in_atomic_block = connection.closed_in_transaction = False
        connection.close()
        return run

    run(0)  # what is done once in a process
    lines = run(0).lines
    for at in range(1, lines) if EVERY else sorted(random.sample(range(1, lines), SAMPLE)):
        where = run(at).where
        rows = ConnectedAccount.objects.all()
        assert not rows.exclude(lease_holder=None).exists(), where
        assert not rows.exclude(attempt_started_at=None).exists(), where
        newest = {grant.refresh_token for grant in badgr.grants}
        assert {stored(account)["refresh_token"] for account in accounts} == newest, where
    assert set(badgr.presentations.values()) == {1}
