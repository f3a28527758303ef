"""The documentation of the testing kit says what the kit has."""

import inspect
from typing import Any

from connected_accounts import testing
from connected_accounts.testing import FakeProvider, conformance
from connected_accounts.testing.conformance.harness import Harness
from connected_accounts.testing.server import AS_USUAL
from tests.docs.doc_pages import Row, column, names, table, value

PAGE = "reference/testing.md"
CONFORMANCE = "`connected_accounts.testing.conformance`"


def test_every_name_of_the_kit_is_documented() -> None:
    kit = column(table(PAGE, "`connected_accounts.testing`"), "Name")
    assert sorted(kit) == sorted(testing.__all__)
    assert sorted(column(table(PAGE, CONFORMANCE), "Name")) == sorted(conformance.__all__)


def defaults(rows: list[Row], head: str) -> dict[str, str]:
    return {names(row[head])[0]: row["Default"] for row in rows}


def test_every_option_of_the_fake_is_documented_with_its_default() -> None:
    documented = defaults(table(PAGE, "FakeProvider"), "Option")
    parameters = inspect.signature(FakeProvider).parameters
    assert list(documented) == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is testing.OMITTED:
            assert documented[name] == "omitted"
        elif parameter.default is AS_USUAL:
            assert documented[name] == "as there"
        elif parameter.default is not parameter.empty:
            assert value(documented[name]) == parameter.default


def test_every_member_of_the_fake_is_documented_with_its_parameters() -> None:
    documented = {}
    for member in column(table(PAGE, "FakeProvider", 1), "Member"):
        name, _, rest = member.partition("(")
        documented[name] = [p for p in rest.rstrip(")").split(", ") if p]
    found = {}
    for name, member in vars(FakeProvider).items():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            function: Any = member.fget if isinstance(member, property) else member
            found[name] = list(inspect.signature(function).parameters)[1:]
    assert documented == found


def test_every_fault_is_documented_with_its_parameters() -> None:
    for row in table(PAGE, "Faults"):
        kind = getattr(testing, names(row["Fault"])[0])
        assert list(inspect.signature(kind).parameters) == names(row["Parameters"])
    faults = {name for name in testing.__all__ if hasattr(getattr(testing, name), "play")}
    assert set(column(table(PAGE, "Faults"), "Fault")) == faults


def test_every_attribute_of_a_contract_is_documented() -> None:
    kinds = [*conformance.CONTRACTS.values(), conformance.RevocationCases]
    above = {base for kind in kinds for base in kind.__mro__ if issubclass(base, Harness)}
    found: dict[str, Any] = {}
    for kind in above:
        for name in inspect.get_annotations(kind):
            if not name.startswith("_") and name != "needs":
                found[name] = getattr(kind, name, "required")
    documented = defaults(table("auditors/conformance.md", "Attributes"), "Attribute")
    assert set(documented) == set(found)
    for name, default in found.items():
        if inspect.isclass(default):
            assert names(documented[name]) == [default.__name__]
        else:
            shown = documented[name]
            assert (shown if default == "required" else value(shown)) == default
