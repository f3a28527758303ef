"""Reading what a front end sends: JSON, of a known size and form, and nothing besides."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from django.http import HttpRequest, UnreadablePostError
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from connected_accounts.api.problems import ProblemError
from connected_accounts.web import request_secrets

MAX_BODY: Final = 65536
MAX_ITEMS: Final = 100


@dataclass(frozen=True)
class Connecting:
    """The body of a request to connect, or to connect again."""

    next: str = ""
    scopes: tuple[str, ...] = ()
    owner: str = ""
    inputs: dict[str, str] = field(default_factory=dict, repr=False)
    keep_scopes: bool = True
    issuer: str = ""


def refuse_other_types(request: HttpRequest) -> None:
    """Raise ProblemError for a body that is not declared as JSON. A page of another site can send
    the other types without being asked for permission."""
    if request.content_type not in ("", "application/json"):
        raise ProblemError("not_json", headers={"Accept": "application/json"})


@sensitive_variables()
def read_connecting(request: HttpRequest, *, again: bool) -> Connecting:
    """The body of a request to connect, or to connect ``again``. Raises ProblemError that says all
    that is wrong."""
    document = _read(request)
    wrong: list[tuple[str, Any]] = []
    known = ("next", "scopes", "inputs", "issuer", "keep_scopes" if again else "owner")
    wrong += [(_pointer(name), _("There is no such member.")) for name in document.keys() - known]
    wrong += _not_texts(document, [name for name in ("next", "owner", "issuer") if name in known])
    scopes = document.get("scopes", [])
    if not isinstance(scopes, list) or len(scopes) > MAX_ITEMS:
        wrong.append(("/scopes", _("This is not a list of texts.")))
    else:
        wrong += [
            (f"/scopes/{number}", _("This is not a text."))
            for number, scope in enumerate(scopes)
            if not isinstance(scope, str)
        ]
    inputs = document.get("inputs", {})
    if not isinstance(inputs, dict):
        wrong.append(("/inputs", _("This is not an object.")))
    else:
        wrong += _not_texts(inputs, list(inputs), below="/inputs")
    if not isinstance(document.get("keep_scopes", True), bool):
        wrong.append(("/keep_scopes", _("This is neither true nor false.")))
    if wrong:
        raise ProblemError("invalid_body", errors=sorted(wrong)[:MAX_ITEMS])
    return Connecting(**{**document, "scopes": tuple(scopes)})


def _not_texts(
    document: dict[str, Any], names: list[str], below: str = ""
) -> list[tuple[str, Any]]:
    return [
        (_pointer(name, below), _("This is not a text."))
        for name in names
        if not isinstance(document.get(name, ""), str)
    ]


def _pointer(name: str, below: str = "") -> str:
    """RFC 6901; of a name that is long, or holds what cannot be sent, the beginning."""
    text = name[:64].encode("ascii", "backslashreplace").decode()
    return f"{below}/{text.replace('~', '~0').replace('/', '~1')}"


@sensitive_variables()
def _read(request: HttpRequest) -> dict[str, Any]:
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length) > MAX_BODY:
        raise ProblemError("too_large")
    try:
        body = request.body
    except UnreadablePostError:
        raise ProblemError("invalid_json") from None
    request_secrets.forget_body(
        request
    )  # it may hold credentials, and what reports errors reads it
    if len(body) > MAX_BODY:
        raise ProblemError("too_large")
    if not body:
        return {}
    try:
        document = json.loads(
            body.decode(), object_pairs_hook=_each_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):  # the body is not to be seen in a traceback
        document = None
    if not isinstance(document, dict):
        raise ProblemError("invalid_json")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a member stands there twice")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError("JSON has no such number")
