"""The OpenAPI file, and whether an answer is as it says."""

import json
from typing import Any

import jsonschema_rs
from django.http import HttpResponse
from django.urls import resolve

from connected_accounts.api import urls
from tests.docs.doc_pages import PACKAGE

DOCUMENT: dict[str, Any] = json.loads((PACKAGE / "api" / "openapi.json").read_text("utf-8"))
PREFIX = "/api/connections"


def operation(path: str, method: str) -> dict[str, Any]:
    """The operation of a request, by its address."""
    name = resolve(path).url_name
    (route,) = [str(p.pattern) for p in urls.urlpatterns if p.name == name]
    known = route.replace("<str:pk>", "{id}").replace("<str:provider>", "{alias}")
    return DOCUMENT["paths"][f"/{known}"][method]  # type: ignore[no-any-return]


def check(response: HttpResponse, path: str, method: str) -> None:
    """Fail unless status, type and body of an answer are documented for this request."""
    answer = operation(path, method)["responses"][str(response.status_code)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    ((media_type, content),) = answer["content"].items()
    assert response["Content-Type"] == media_type
    _validate(response, content["schema"])
    for name in answer.get("headers", {}):
        assert response.headers.get(name), f"{name} is missing"


def is_problem(response: HttpResponse) -> None:
    """Fail unless an answer is one of the documented problems."""
    assert response["Content-Type"] == "application/problem+json"
    _validate(response, DOCUMENT["components"]["schemas"]["Problem"])


def _validate(response: HttpResponse, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    validator.validate(json.loads(response.content))
