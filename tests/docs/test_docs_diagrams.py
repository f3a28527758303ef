"""The diagrams of the documentation show the states and transitions that the code has."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Outcome, Revocation, Status
from connected_accounts.models.accounts import ConnectedAccountQuerySet
from connected_accounts.revoke.attempts import RevocationResult, settle
from connected_accounts.services import disconnect
from tests.docs.doc_pages import DOCS, PAGES

FOLDER = DOCS / "explanation"
DIAGRAMS = ("lifecycle.svg", "single-flight.svg", "lost-answer.svg", "revocation.svg")
SVG = "{http://www.w3.org/2000/svg}"


def groups(name: str, kind: str) -> Iterator[tuple[ElementTree.Element, str]]:
    """The groups of a class in a diagram, each with the text that is shown in it."""
    for group in ElementTree.parse(FOLDER / name).iter(f"{SVG}g"):
        if group.get("class") == kind:
            yield group, " ".join(text.text or "" for text in group.iter(f"{SVG}text"))


def states(name: str) -> set[str]:
    shown = {str(group.get("id")): text for group, text in groups(name, "state")}
    for state, text in shown.items():
        assert state in ("start", "gone") or text.split()[0] == state
    return set(shown) - {"start", "gone"}


def transitions(name: str) -> set[tuple[str, str]]:
    return {
        (str(group.get("data-from")), str(group.get("data-to")))
        for group, _ in groups(name, "transition")
    }


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_is_shown_with_words_in_its_place_and_loads_nothing(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert text.count("http") == text.count('xmlns="http://www.w3.org/2000/svg"') == 1
    shown = [page for page in PAGES if f"]({name})" in page.read_text("utf-8")]
    assert [page.name for page in shown] == ["lifecycle.md"]


def test_no_other_diagram_is_unchecked() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.svg")) == sorted(DIAGRAMS)


# The account.


def methods() -> dict[str, str]:
    """Each transition in the code, and the status that it writes; empty where it writes none."""
    found = {}
    for kind in (ConnectedAccount, ConnectedAccountQuerySet):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if name.startswith("mark_"):
                tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
                written = {
                    node.attr
                    for node in ast.walk(tree)
                    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Status"
                }
                assert len(written) <= 1, name
                found[name] = Status[written.pop()].value if written else ""
    return found


def test_the_states_of_an_account_are_its_statuses() -> None:
    assert states("lifecycle.svg") == set(Status.values)


def test_the_transitions_of_an_account_are_those_of_the_code() -> None:
    drawn: dict[str, set[tuple[str, str]]] = {}
    for group, text in groups("lifecycle.svg", "transition"):
        for name in str(group.get("data-by")).split():
            assert name in text.replace(",", "").split(), f"{name} is not shown"
            way = str(group.get("data-from")), str(group.get("data-to"))
            drawn.setdefault(name, set()).add(way)
    assert drawn.pop("delete") == {(status, "gone") for status in Status.values}
    assert drawn.pop("mark_imported") == {("start", Status.ACTIVE)}
    assert ConnectedAccount._meta.get_field("status").default == Status.ACTIVE
    known = methods()
    assert known.pop("mark_imported") == ""
    assert set(drawn) == set(known)
    for name, ways in drawn.items():
        for before, after in ways:
            assert after == (known[name] or before), name


# The revocation.


@pytest.fixture
def revocation(account: ConnectedAccount) -> Revocation:
    made = disconnect(account)
    assert made is not None
    return made


@pytest.mark.django_db
def test_the_states_and_transitions_of_a_revocation_are_those_of_the_code(
    revocation: Revocation,
) -> None:
    assert states("revocation.svg") == set(Outcome.values)
    token, now, found = revocation.token, timezone.now(), set()
    for before in (Outcome.PENDING, Outcome.GIVEN_UP):
        for said in Outcome.values:
            for days in (0, 31) if said != Outcome.HELD else ():  # which no provider says
                kept: dict[str, Any] = {"outcome": before, "token": token}
                kept["created_at"] = now - timedelta(days=days)
                Revocation.objects.filter(pk=revocation.pk).update(**kept)
                row = Revocation.objects.get(pk=revocation.pk)
                if said != Outcome.GIVEN_UP:  # which no provider says
                    settle(row, RevocationResult(Outcome(said)), now)
                    row.refresh_from_db()
                    found.add((str(before), row.outcome))
    assert transitions("revocation.svg") == found | {("start", "pending"), ("held", "pending")}
