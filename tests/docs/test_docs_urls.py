"""The documentation of URLs, failures, headers, templates and colours says what a browser gets."""

import re
from pathlib import Path

from django.http import HttpResponse
from django.template.utils import get_app_template_dirs

from connected_accounts import exceptions, urls
from connected_accounts.models import Outcome
from connected_accounts.web import browser, failures
from tests.docs.doc_pages import PACKAGE, column, names, page, table, tables

# Failures after which trying again would change nothing.
IN_VAIN = {
    *("not_permitted", "account_in_use", "unknown_scope", "no_pkce", "client_needed"),
    *("ClientRejected", "no_client", "ConfigurationError"),
}


def test_every_url_is_documented_with_its_path_and_methods() -> None:
    documented = {
        names(row["Name"])[0]: (row["Path"].strip("`"), row["Methods"].split(", "))
        for row in table("reference/urls.md", "Pages")
    }
    assert documented == {
        pattern.name: (
            str(pattern.pattern),
            [
                method.upper()
                for method in ("get", "post", "put", "patch", "delete")
                if hasattr(pattern.callback.view_class, method)
            ],
        )
        for pattern in urls.urlpatterns
    }


def test_every_failure_is_documented_with_its_status() -> None:
    kinds = {
        **dict.fromkeys(["malformed", "unknown", "other_provider"], exceptions.InvalidState),
        **dict.fromkeys(failures._STATES, exceptions.InvalidState),
        **dict.fromkeys(failures._DENIED, exceptions.AuthorizationDenied),
        "unknown_scope": exceptions.ConfigurationError,
        "inputs": exceptions.ConfigurationError,
        "no_client": exceptions.ConfigurationError,
        "credentials": exceptions.ClientRejected,
        **dict.fromkeys(failures._SERVERS, exceptions.UnexpectedResponse),
    }
    classes = ["ProviderUnavailable", "UnexpectedResponse", "ClientRejected", "ConfigurationError"]
    rows = {names(row["Code"])[0]: row for row in table("reference/urls.md", "Failures")}
    assert sorted(rows) == sorted([*kinds, *classes, "too_many"])
    too_many = rows.pop("too_many")
    assert int(too_many["Status"]) == failures.TOO_MANY.status
    for code, row in rows.items():
        error = kinds[code](code) if code in kinds else getattr(exceptions, code)()
        failure = failures.failure_for(error)
        assert int(row["Status"]) == failure.status, code
        assert failure.try_again == (code not in IN_VAIN), code


def test_the_symptoms_are_the_headings_of_what_causes_them() -> None:
    kinds = {
        "wrong client secret": exceptions.ClientRejected("invalid_client"),
        "lost cookie": exceptions.InvalidState("other_browser"),
        "wrong endpoint": exceptions.UnexpectedResponse("not_json"),
    }
    rows = table("how-to/something-does-not-work.md", "Nobody can connect")
    for cause, error in kinds.items():
        [symptom] = [r["Symptom"] for r in rows if r["Likely cause"].startswith(cause)]
        assert symptom == f"“{failures.failure_for(error).title}”"
    for row in table("how-to/something-does-not-work.md", "Disconnecting"):
        assert re.findall("“(.*)”", row["Symptom"])[0] in Outcome.labels


def test_the_codes_of_an_invalid_state_are_those_that_its_class_names() -> None:
    said = re.findall(r"``(\w+)``", exceptions.InvalidState.__doc__ or "")
    rows = {names(row["Code"])[0] for row in table("reference/urls.md", "Failures")}
    assert {code for code in said if code != "code"} <= rows


def test_the_response_headers_are_documented() -> None:
    rows = table("reference/urls.md", "Response headers")
    documented = {names(row["Header"])[0]: names(row["Value"]) for row in rows}
    for number, carries_code in enumerate([False, True]):
        sent = dict(browser.set_security_headers(HttpResponse(), carries_code=carries_code).items())
        for name in ("Content-Type", "Expires"):  # every answer of Django's, and one for old caches
            sent.pop(name, None)
        expected = {
            name: values[min(number, len(values) - 1)] for name, values in documented.items()
        }
        assert sent == expected


def test_every_template_and_block_is_documented() -> None:
    documented = {
        name: names(row["Blocks"])
        for row in tables(page("how-to/change-the-pages.md"))[0]
        for name in names(row["Template"])
    }
    folder = next(
        Path(path) for path in get_app_template_dirs("templates") if Path(path).parent == PACKAGE
    )
    found = {
        str(path.relative_to(folder)): re.findall(r"{% block (\w+) %}", path.read_text("utf-8"))
        for path in (folder / "connected_accounts").rglob("*.html")
    }
    assert {name: sorted(blocks) for name, blocks in documented.items()} == {
        name: sorted(blocks) for name, blocks in found.items()
    }


def test_every_custom_property_is_documented() -> None:
    css = (PACKAGE / "static/connected_accounts/connected_accounts.css").read_text("utf-8")
    documented = column(table("how-to/change-the-pages.md", "Colours"), "Property")
    assert documented == list(dict.fromkeys(re.findall(r"var\((--ca-[a-z-]+),", css)))
