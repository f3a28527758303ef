"""The documentation of errors has each of them, with its place, its attributes and its codes."""

import ast
import inspect
import re
from functools import cache
from typing import Any

import pytest

from connected_accounts import exceptions, models
from tests.docs.doc_pages import DOCS, code_blocks, column, names, page, sources, table, tables


def errors() -> dict[str, Any]:
    return {
        name: kind
        for name, kind in inspect.getmembers(exceptions, inspect.isclass)
        if kind.__module__ == exceptions.__name__ and issubclass(kind, Exception)
    }


def test_every_attribute_of_an_error_is_documented() -> None:
    rows = table("reference/errors.md", "Attributes")
    documented = {(names(row["Of"])[0], name) for row in rows for name in names(row["Attribute"])}
    found = set()
    for name, kind in errors().items():
        above = kind.__bases__[0]
        has = set(vars(kind())) | set(inspect.get_annotations(kind))
        had = set(vars(above())) | set(inspect.get_annotations(above))
        found |= {(name, attribute) for attribute in has - had}
    found |= {("WayOn", name) for name in exceptions.WayOn._fields}
    assert documented == found


@cache
def texts() -> set[str]:
    """Every text in the code."""
    return {
        node.value
        for _, text in sources()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@cache
def raised() -> dict[str, set[str]]:
    """The codes that stand in the code as plain text, by the error that is made with them."""
    found: dict[str, set[str]] = {name: set() for name in errors()}
    for _, text in sources():
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                name = ast.unparse(call.func).rpartition(".")[2]
                if name in found:
                    found[name].add(str(call.args[0].value))
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("ConfigurationError", "ReauthorizationRequired", "Undecryptable"),
        *("ProviderUnavailable", "UnexpectedResponse", "ClientRejected"),
    ],
)
def test_every_code_of_an_error_is_documented(name: str) -> None:
    documented = set(column(table("reference/errors.md", f"`{name}`"), "Code"))
    reasons = set(models.Reason.values) if name == "ReauthorizationRequired" else set()
    one_for_all = {code for code in raised()[name] if code.startswith("status_")}
    assert raised()[name] - one_for_all - reasons <= documented
    assert documented - {"E001", "status_503", "status_404"} <= texts()


def test_every_error_is_documented_in_its_place_in_the_tree() -> None:
    kinds = errors()
    documented = column(tables(page("reference/errors.md"))[0], "Error")
    assert sorted(documented) == sorted(kinds)
    (tree,) = code_blocks(DOCS / "reference/errors.md", "text")
    above: list[str] = []
    for line in tree.splitlines():
        name = re.sub(r"\W", "", line)
        depth = (len(line) - len(name)) // 4
        above = [*above[:depth], name]
        parent = kinds[name].__bases__[0].__name__
        assert parent == (above[depth - 1] if depth else "Exception")
