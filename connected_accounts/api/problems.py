"""The JSON API's errors: one document for each (RFC 9457).

``code`` is for programs and stays; ``title`` and ``detail`` are for people, and translated.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.web.actions import TooOften
from connected_accounts.web.failures import TOO_MANY, failure_for

TYPE: Final = "urn:connected-accounts:problem:"
MEDIA_TYPE: Final = "application/problem+json"
Text = str | Promise

# Of the API alone; what connecting can fail with is in ``failures``.
_KNOWN: Final[dict[str, tuple[int, Text, Text]]] = {
    "invalid_json": (400, _("This is not JSON"), _("The body cannot be read as a JSON object.")),
    "invalid_body": (
        400,
        _("The body is not valid"),
        _("See “errors” for details."),
    ),
    "bad_request": (400, _("This request cannot be used"), ""),
    "not_signed_in": (401, _("You are not signed in"), _("Sign in, and ask again.")),
    "csrf_failed": (
        403,
        _("The CSRF token is missing or wrong"),
        _("Send the token that an answer to GET has in its header X-CSRFToken."),
    ),
    "not_permitted": (403, _("You may not do this"), ""),
    "not_found": (404, _("There is no such thing here"), ""),
    "method_not_allowed": (405, _("This cannot be done here"), ""),
    "too_large": (413, _("The body is too large"), ""),
    "not_json": (
        415,
        _("The body is of the wrong type"),
        _("Send application/json, or no body at all."),
    ),
    "internal_error": (500, _("Something went wrong"), _("That is a fault of this site.")),
}
# Errors whose own code says more than the API promises.
_BY_CLASS: Final[tuple[tuple[type[ConnectedAccountsError], str], ...]] = (
    (ProviderUnavailable, "provider_unavailable"),
    (ClientRejected, "client_rejected"),
    (UnexpectedResponse, "unexpected_response"),
    (ConfigurationError, "misconfigured"),
)
_OWN_CODES: Final = ("credentials", "inputs", "no_client", "unknown_scope")


@dataclass(eq=False)  # an exception is itself
class ProblemError(Exception):
    """An answer that is none. ``errors``: what is wrong where, as pairs of a JSON pointer
    (RFC 6901) and words."""

    code: str
    detail: Any = ""
    errors: list[tuple[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def problem_for(error: Exception) -> HttpResponse | None:
    """The answer that an error means; None for one that nobody foresaw."""
    match error:
        case ProblemError():
            return _known(error.code, error.detail, error.errors, error.headers)
        case TooOften(seconds=seconds):
            headers = {"Retry-After": str(seconds)}
            return _answer("too_many", *_words_of(TOO_MANY), headers=headers)
        case ConnectedAccountsError():
            return _answer(_code_of(error), *_words_of(failure_for(error)))
        case Http404():
            return _known("not_found", str(error))
        case PermissionDenied():
            return _known("not_permitted", str(error))
        case RequestDataTooBig():
            return _known("too_large")
        case SuspiciousOperation():
            return _known("bad_request")
    return None


def _code_of(error: ConnectedAccountsError) -> str:
    if error.code not in _OWN_CODES:
        for kind, code in _BY_CLASS:
            if isinstance(error, kind):
                return code
    return error.code


def _words_of(failure: Any) -> tuple[int, Text, Text]:
    return failure.status, failure.title, failure.text


def _known(
    code: str,
    detail: Any = "",
    errors: list[tuple[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    known = _KNOWN.get(code) or _words_of(failure_for(ConfigurationError(code)))
    status, title, text = known
    return _answer(code, status, title, detail or text, errors, headers)


def _answer(
    code: str,
    status: int,
    title: Text,
    detail: Text,
    errors: list[tuple[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    document: dict[str, Any] = {
        "type": TYPE + code,
        "title": str(title),
        "status": status,
        "code": code,
    }
    if detail:
        document["detail"] = str(detail)
    if errors:
        document["errors"] = [{"pointer": where, "detail": str(what)} for where, what in errors]
    return JsonResponse(document, status=status, content_type=MEDIA_TYPE, headers=headers)
