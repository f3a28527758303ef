"""Django 5.2's other driver of PostgreSQL, whose errors and wrappers have attributes of their own.
It is not installed here: these are stand-ins.
"""

import json
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from connected_accounts.database import inserts, locks
from connected_accounts.database.compiled import array_text
from connected_accounts.models import Event


class Binary:
    def __init__(self, adapted: Any) -> None:
        self.adapted = adapted


class Json(Binary):
    def dumps(self, value: Any) -> str:
        return json.dumps(value)


class Unknown:
    """A wrapper of no driver that is known here."""

    def dumps(self, value: Any) -> str:
        return json.dumps(value)


def raised_by_the_driver(code: str) -> Exception:
    error = Exception("the server's words")
    error.pgcode = code  # type: ignore[attr-defined]
    return error


def test_what_it_wraps_is_written_into_an_array() -> None:
    assert array_text([Json(["a", 1]), None]) == '{"[\\"a\\", 1]",NULL}'
    assert array_text([Binary(b"\x00\xff"), None]) == '{"\\\\x00ff",NULL}'


@pytest.mark.parametrize("values", [[Unknown()], [Binary(memoryview(b"a"))], [Json({1, 2})]])
def test_a_wrapper_that_is_not_understood_is_left_to_the_driver(values: list[Any]) -> None:
    assert array_text(values) == values


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_is_run_again(db: None, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OperationalError()
    error.__cause__ = raised_by_the_driver(code)
    assert locks.is_out_of_line(error)


def test_a_lock_that_is_waited_for_in_vain_is_known() -> None:
    error = OperationalError()
    error.__cause__ = raised_by_the_driver("55P03")
    assert locks.is_lock_timeout(error)


def test_a_sequence_that_is_behind_is_set_forward(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inserts, "_set_forward", lambda model, alias: True)
    taken = [raised_by_the_driver(inserts.UNIQUE_VIOLATION)]

    def insert() -> str:
        if taken:
            raise IntegrityError from taken.pop()
        return "stored"

    assert inserts.insert_in_step(Event, insert) == "stored"
