"""The OpenAPI file says what the code does: routes, methods, statuses, codes and members."""

import re
from typing import Any

import jsonschema_rs
import pytest

from connected_accounts.api import problems, urls
from connected_accounts.api.bodies import MAX_ITEMS, Connecting
from connected_accounts.models import Kind, Outcome
from connected_accounts.owners import MAX_KEY
from connected_accounts.providers.base import Provider
from connected_accounts.web import failures
from connected_accounts.web.check_results import RESULTS
from tests.api.openapi import DOCUMENT
from tests.docs.doc_pages import column, names, table

SCHEMAS = DOCUMENT["components"]["schemas"]
RESPONSES = DOCUMENT["components"]["responses"]
METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> dict[tuple[str, str], Any]:
    return {
        (path, method): described
        for path, item in DOCUMENT["paths"].items()
        for method, described in item.items()
        if method in METHODS
    }


def test_every_route_and_method_is_there_and_no_other() -> None:
    found = {
        ("/" + re.sub("<str:pk>", "{id}", re.sub("<str:provider>", "{alias}", route)), method)
        for pattern in urls.urlpatterns
        for route in [str(pattern.pattern)]
        for method in METHODS
        if hasattr(pattern.callback.view_class, method)
    }
    assert set(operations()) == found


def test_every_operation_has_a_name_of_its_own_and_what_signs_it() -> None:
    names_of = [described["operationId"] for described in operations().values()]
    assert len(names_of) == len(set(names_of))
    for (_, method), described in operations().items():
        safe = method == "get"
        assert described["security"] == [{"session": []} if safe else {"session": [], "csrf": []}]
        assert {"401", "500"} <= described["responses"].keys()
        assert ("415" in described["responses"]) != safe


def test_every_reference_leads_somewhere_and_everything_is_used() -> None:
    text = str(DOCUMENT)
    used = set(re.findall(r"#/components/(\w+)/(\w+)", text))
    assert used == {("schemas", n) for n in SCHEMAS} | {("responses", n) for n in RESPONSES}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_and_closed(name: str) -> None:
    whole = {**SCHEMAS[name], "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole)
    assert whole["additionalProperties"] is False
    if name not in ("Connect", "Reconnect", "Problem"):
        assert sorted(whole["required"]) == sorted(whole["properties"])


def codes() -> set[str]:
    of_classes = {code for _, code in problems._BY_CLASS}
    denied = set(failures._DENIED) - {"access_denied"}  # said at the provider's page
    others = {"too_many", "other_user"}
    return {*problems._KNOWN, *problems._OWN_CODES, *of_classes, *denied, *others}


def test_every_code_is_there_and_documented_with_its_status() -> None:
    assert set(SCHEMAS["Problem"]["properties"]["code"]["enum"]) == codes()
    rows = table("reference/api.md", "Problems")
    documented = {code: int(row["Status"]) for row in rows for code in names(row["Codes"])}
    assert set(documented) == codes()
    for code, (status, _, _) in problems._KNOWN.items():
        assert documented[code] == status


def test_what_may_be_sent_is_what_is_read() -> None:
    members = set(Connecting.__dataclass_fields__)
    assert set(SCHEMAS["Connect"]["properties"]) == members - {"keep_scopes"}
    assert set(SCHEMAS["Reconnect"]["properties"]) == members - {"owner"}
    assert SCHEMAS["Connect"]["properties"]["scopes"]["maxItems"] == MAX_ITEMS
    assert SCHEMAS["Owner"]["properties"]["key"]["maxLength"] == MAX_KEY


def test_what_is_one_of_a_list_is_one_of_the_codes_list() -> None:
    def enum(schema: str, member: str) -> list[str]:
        return sorted(SCHEMAS[schema]["properties"][member]["enum"])

    assert enum("Revocation", "outcome") == sorted(Outcome.values)
    assert enum("TestResult", "state") == sorted({result.state for result in RESULTS.values()})
    assert enum("Account", "state") == [*enum("TestResult", "state"), "not_offered"]
    kinds = ["authorization_code", "client_credentials", "identity_assertion", "personal_token"]
    assert enum("Provider", "grant_type") == kinds
    assert Provider.grant_type in kinds
    assert "enum" not in SCHEMAS["Event"]["properties"]["kind"]  # more may come
    assert Kind.CONNECTED.value


def test_every_endpoint_is_documented() -> None:
    rows = table("reference/api.md", "Endpoints")
    documented = {(f"/{names(row['Path'])[0]}", row["Method"].lower()) for row in rows}
    assert documented == set(operations())
    assert sorted(column(rows, "Name")) == sorted(
        str(pattern.name)
        for pattern in urls.urlpatterns
        for method in METHODS
        if hasattr(pattern.callback.view_class, method)
    )
