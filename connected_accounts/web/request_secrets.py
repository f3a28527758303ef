"""The secrets of a request: hidden where they were posted, taken out of a callback, kept while a
person signs in, and gone from a request that failed."""

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from typing import Any, Final, ParamSpec

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase

from connected_accounts.exceptions import InvalidState, Undecryptable
from connected_accounts.oauth2 import state
from connected_accounts.sealing import seal, unseal
from connected_accounts.secret import Sealed, Secret, SecretFields, forget_locals, revealed
from connected_accounts.web.browser import (
    browser_secret,
    cookie_name,
    forget_cookie,
    set_browser_secret,
)

# The last is the admin's.
INPUTS: Final = ("client_secret", "personal_token", "id_token", "new_secret")
PURPOSE: Final = "connected_accounts.callback"
MAX_QUERY: Final = 16384  # characters
CARRIED: Final = "connected_accounts_callback_token"  # a cookie, with a name that tools mask
MAX_CARRIED: Final = 3800  # characters; browsers drop a cookie of more than 4096, with its name
_ADDRESSES: Final = ("RAW_URI", "REQUEST_URI")  # of gunicorn; of uWSGI, mod_wsgi and waitress

P = ParamSpec("P")


def scrub_request(request: HttpRequest) -> None:
    """Take code, state, cookie and what was entered out of a request: it is shown on error pages,
    in mails and by trackers, and servers write their access log by it."""
    for name in (cookie_name(request), cookie_name(request, CARRIED)):
        request.COOKIES.pop(name, None)
    request.GET = QueryDict()
    request.POST = QueryDict()
    forget_body(request)
    meta = request.META
    meta["QUERY_STRING"] = ""
    meta |= {name: meta[name].partition("?")[0] for name in _ADDRESSES if name in meta}
    if "HTTP_COOKIE" in meta:
        meta["HTTP_COOKIE"] = ""
    scope = getattr(request, "scope", None)
    if scope is not None:  # ASGI's own form of the same
        scope["query_string"] = b""
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != b"cookie"]


def forget_body(request: HttpRequest) -> None:
    """Leave nothing to read of a body that was read."""
    request._body = b""
    request._stream = BytesIO()


def hide_entered(request: HttpRequest) -> None:
    """Put a Secret in the place of each secret that was posted, and nothing in that of the body. To
    be called first: trackers read both, whatever becomes of the request."""
    if request.method != "POST":
        return
    posted = request.POST.copy()
    for name in posted.keys() & set(INPUTS):
        posted.setlist(name, [Secret(revealed(value)) for value in posted.getlist(name)])
    posted._mutable = False
    request.POST = posted  # type: ignore[assignment]  # read-only by now
    forget_body(request)


def forgetful(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """Around a view whose frames and request are to hold no secret when something is told of them:
    not by what it logs, nor by an exception that leaves it."""

    @wraps(view)
    def forgetting(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        request: Any = args[0]
        try:
            hide_entered(request)
            return view(*args, **kwargs)
        except (Http404, PermissionDenied, SuspiciousOperation):
            raise  # Django's own answers
        except Exception as error:  # for the site's error page, mail and tracker
            scrub_request(request)
            forget_locals(error)
            raise

    return forgetting


def take_callback(request: HttpRequest) -> tuple[SecretFields, Secret | None]:
    """The parameters that the provider sent, and the browser's secret; the request has neither
    afterwards. Parameters from before a sign-in come out of the session."""
    kept = _take_kept(request) if "state" not in request.GET else None
    taken = SecretFields(kept or request.GET), browser_secret(request)
    scrub_request(request)
    return taken


def keep_callback(request: HttpRequest) -> None:
    """Keep the parameters of a callback in the session, sealed, while the person signs in: the
    login page's address would be logged with them. What this site has not begun is not kept."""
    session, sealed = getattr(request, "session", None), _sealed_query(request)
    if session is not None and sealed is not None:
        session[PURPOSE] = sealed.reveal()


def carry_callback(request: HttpRequest) -> Callable[[HttpResponse], None] | None:
    """Let a cookie carry the parameters of a callback to the same address once more; the function
    puts it into an answer. None: it would be too large, or this site has not begun that."""
    sealed = _sealed_query(request)
    if sealed is None or len(sealed.reveal()) > MAX_CARRIED:
        return None
    return lambda response: set_browser_secret(request, response, sealed, CARRIED)


def forget_carried(request: HttpRequest) -> Callable[[HttpResponse], None]:
    """The function that takes that cookie from the browser, if it has one."""
    if cookie_name(request, CARRIED) not in request.COOKIES:
        return lambda response: None
    return lambda response: forget_cookie(request, response, CARRIED)


def _sealed_query(request: HttpRequest) -> Sealed | None:
    query = request.META["QUERY_STRING"]
    try:
        state.read(request.GET.get("state", ""))
    except InvalidState:
        return None
    fits = len(query) <= MAX_QUERY
    return seal(query, purpose=PURPOSE, bound_to=request.path) if fits else None


def _take_kept(request: HttpRequest) -> QueryDict | None:
    sealed = getattr(request, "session", {}).pop(PURPOSE, None)
    sealed = sealed or request.COOKIES.get(cookie_name(request, CARRIED))
    if not isinstance(sealed, str):
        return None
    try:
        query = unseal(Sealed(sealed), purpose=PURPOSE, bound_to=request.path)
    except Undecryptable:  # of another provider's callback, or of a key that is gone
        return None
    return QueryDict(query)
