"""The agreement with the person's browser: the cookie, the way back, the headers."""

import logging
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import validate_host
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme

from connected_accounts import conf
from connected_accounts.conf import is_loopback_literal
from connected_accounts.connect.next_page import web_address
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2 import state
from connected_accounts.operations import site_address
from connected_accounts.secret import Secret

logger = logging.getLogger("connected_accounts")

COOKIE: Final = "connected_accounts_token"  # a name that tools mask, for its last word


class SeeOther(HttpResponseRedirect):
    """303: the browser follows with GET whatever it sent before (RFC 9110 15.4.4)."""

    status_code = 303


@cache
def _tell_of_mount(prefix: str, base: str) -> None:
    """Once in a process."""
    address = base.rstrip("/") + prefix.rstrip("/")
    logger.warning(
        "the server mounts the site at %s, of which workers know nothing: REDIRECT_BASE_URL must "
        "be %s, and FORCE_SCRIPT_NAME %s",
        prefix,
        address,
        prefix.rstrip("/"),
    )


def is_secure(request: HttpRequest) -> bool:
    base = conf.get("REDIRECT_BASE_URL")
    return str(base).startswith("https:") if base else request.is_secure()


def cookie_name(request: HttpRequest, name: str = COOKIE) -> str:
    """``__Host-`` keeps a subdomain or a plain-http page from planting the cookie (RFC 6265bis);
    where subdomains share the site's session, what begins on one ends on another."""
    if not is_secure(request):
        return name
    return f"__Secure-{name}" if site_address.shared_domain() else f"__Host-{name}"


def browser_secret(request: HttpRequest) -> Secret | None:
    """The secret in this browser's cookie, if it has one."""
    value = request.COOKIES.get(cookie_name(request), "")
    return Secret(value) if state.is_secret(value) else None


def set_browser_secret(
    request: HttpRequest, response: HttpResponse, secret: Secret, name: str = COOKIE
) -> None:
    """Keep the cookie for as long as the youngest open authorization lasts."""
    response.set_cookie(
        cookie_name(request, name),
        secret.reveal(),
        max_age=int(conf.get("STATE_MAX_AGE")),
        path="/",
        domain=settings.SESSION_COOKIE_DOMAIN if site_address.shared_domain() else None,
        secure=is_secure(request),
        httponly=True,
        samesite="Lax",  # sent on the provider's redirect back, not on its sub-requests
    )


def redirect_uri(request: HttpRequest, provider: str, *host: str) -> str:
    """The callback's public address, the same bytes at every step; with a ``host``, that of the
    host for which it stands."""
    path, base = site_address.path_of("callback", provider, *host), conf.get("REDIRECT_BASE_URL")
    if not base:
        return request.build_absolute_uri(path)
    prefix = get_script_prefix()
    if prefix != "/" and settings.FORCE_SCRIPT_NAME is None and not urlsplit(base).path.strip("/"):
        _tell_of_mount(prefix, base)
    return site_address.public_address(path)


def way_back(request: HttpRequest, next_url: str) -> str:
    """``next_url``, or where it would be another page seen from the callback, its full address: the
    callback has one host and one language for everybody."""
    if not next_url and list_page() != _list_page_of_callback():
        next_url = list_page()
    domain, here = site_address.shared_domain(), request.get_host()
    base = urlsplit(str(conf.get("REDIRECT_BASE_URL") or "")).netloc
    if not domain or here == base or not site_address.is_within(here, domain):
        return next_url
    return request.build_absolute_uri(next_url or list_page())


def _list_page_of_callback() -> str:
    with translation.override(settings.LANGUAGE_CODE):
        return list_page()


def take_up_language(request: HttpRequest, url: str) -> None:
    """Go on in the language of the page that the person came from, where addresses have one."""
    urlconf = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    prefixed, _default = is_language_prefix_patterns_used(urlconf)
    path = urlsplit(url).path.removeprefix(get_script_prefix().rstrip("/"))
    language = translation.get_language_from_path(path) if prefixed else None
    if language:
        translation.activate(language)
        request.LANGUAGE_CODE = language


def refuse_to_register(request: HttpRequest) -> None:
    """Raise ConfigurationError (``no_redirect_base_url``) where the site's address is known by the
    request alone: it may be anybody's then, and a provider would send codes there. On the
    developer's own machine nobody else gets one."""
    name = urlsplit(f"//{request.get_host()}").hostname or ""
    own_machine = name == "localhost" or is_loopback_literal(name)
    if not conf.get("REDIRECT_BASE_URL") and not own_machine:
        raise ConfigurationError(
            "no_redirect_base_url",
            "The site registers itself at this provider, so its address must be known: set "
            "CONNECTED_ACCOUNTS['REDIRECT_BASE_URL'].",
        )


def safe_next(request: HttpRequest, url: str) -> str:
    """``url`` if it is a page of this site, else an empty text (the person ends on the list)."""
    if not web_address(url):
        return ""
    hosts = {request.get_host()}
    base = conf.get("REDIRECT_BASE_URL")
    if base:
        hosts.add(urlsplit(base).netloc)
    named, domain = urlsplit(url).netloc, site_address.shared_domain()
    if domain and site_address.is_within(named, domain):
        hosts |= (
            {named} if validate_host(named.partition(":")[0], settings.ALLOWED_HOSTS) else set()
        )
    if not url_has_allowed_host_and_scheme(url, hosts, require_https=request.is_secure()):
        return ""
    # A path, or a full address of this site; "page" relative to the callback would be neither.
    return url if url.startswith("/") or urlsplit(url).netloc in hosts else ""


def page_of(name: str, *args: Any) -> str:
    """The address of one of our pages; empty where the site has only the callback."""
    try:
        return reverse(f"connected_accounts:{name}", args=args)
    except NoReverseMatch:
        return ""


def list_page() -> str:
    """The page of connections; for a site without it, its first page."""
    return page_of("list") or get_script_prefix()


def to_login(request: HttpRequest, back: str) -> HttpResponse:
    """Send to the site's login page, and from there back."""
    return SeeOther(redirect_to_login(back).url)


def forget_cookie(request: HttpRequest, response: HttpResponse, name: str) -> None:
    domain = settings.SESSION_COOKIE_DOMAIN if site_address.shared_domain() else None
    response.delete_cookie(cookie_name(request, name), domain=domain, samesite="Lax")


def set_security_headers(response: HttpResponse, *, carries_code: bool) -> HttpResponse:
    """The headers of every answer of ours, whatever middleware the site runs.

    Where the address holds a code or a state nothing may be told of it: ``no-referrer``. Pages with
    forms get ``same-origin`` instead, because browsers send ``Origin: null`` with a form from a
    ``no-referrer`` page, and Django's CSRF check refuses that.
    """
    response.headers["Cache-Control"] = "no-store, private"
    response.headers["Expires"] = "0"  # for caches older than Cache-Control (RFC 9111 5.3)
    response.headers["Referrer-Policy"] = "no-referrer" if carries_code else "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def session_cookie_withheld(request: HttpRequest) -> bool:
    """Whether the session may exist but was not sent: a Strict cookie stays away from a request
    that another site's redirect caused. A page of our own leading to the same address brings it."""
    strict = str(settings.SESSION_COOKIE_SAMESITE or "").lower() == "strict"
    return strict and settings.SESSION_COOKIE_NAME not in request.COOKIES


def form_values(request: HttpRequest, name: str) -> list[str]:
    """A parameter of the connect page, from the form or from the address."""
    values: list[Any] = [*request.POST.getlist(name), *request.GET.getlist(name)]
    return [str(value) for value in dict.fromkeys(values)]


def owner_named(request: HttpRequest) -> str:
    """The key of the team for which this request is to connect; empty: the person alone."""
    return (form_values(request, "owner") or [""])[0]


def asked_scopes(request: HttpRequest) -> tuple[list[str], bool]:
    """The scopes that a request names, and whether they are all that is wanted besides SCOPES: an
    empty ``scope`` says so, which a form sends even where nothing in it is ticked."""
    values = form_values(request, "scope")
    return [scope for scope in values if scope], "" in values


def next_page(request: HttpRequest) -> str:
    """The page that this request says to go to afterwards, if that is one of this site."""
    return safe_next(request, (form_values(request, "next") or [""])[0])
