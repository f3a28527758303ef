"""The site's public address: one for the web, workers, mails and ``check_provider``, whatever the
visitor's language, the host of the request and the path that the site is mounted at."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import translation

from connected_accounts import conf
from connected_accounts.conf import Problem


def path_of(page: str, *args: Any) -> str:
    """The path of a page of ours in the site's own language, LANGUAGE_CODE: under i18n_patterns
    each language has another, and a provider knows one. Raises NoReverseMatch."""
    with translation.override(settings.LANGUAGE_CODE):
        path = reverse(f"connected_accounts:{page}", args=args)
    # "en-us" where LANGUAGES has "en": the page is at /en/, and there is none at /en-us/.
    led_to = translation.get_language_from_path(path[len(get_script_prefix()) - 1 :])
    if led_to in (None, settings.LANGUAGE_CODE):
        return path
    with translation.override(led_to):
        return reverse(f"connected_accounts:{page}", args=args)


def public_address(path: str) -> str:
    """``path`` below REDIRECT_BASE_URL; empty where that is not set. A path of the base is that of
    the mount, and stands in place of what Django knows of it: a worker knows less than a server."""
    base = str(conf.get("REDIRECT_BASE_URL") or "").rstrip("/")
    if base and urlsplit(base).path:
        path = path[len(get_script_prefix()) - 1 :]
    return f"{base}{path}" if base else ""


def shared_domain() -> str:
    """The domain whose hosts share the site's session, and REDIRECT_BASE_URL among them, without
    its dot; empty where each host has its own."""
    domain = str(settings.SESSION_COOKIE_DOMAIN or "").lstrip(".").lower()
    return domain if domain and is_within(_base_host(), domain) else ""


def is_within(host: str, domain: str) -> bool:
    """Whether a host, with or without a port, is of a domain."""
    name = host.lower().rpartition(":")[0] if ":" in host else host.lower()
    return name == domain or name.endswith(f".{domain}")


def _base_host() -> str:
    return urlsplit(str(conf.get("REDIRECT_BASE_URL") or "")).hostname or ""


def problems() -> Iterator[Problem]:
    """W023 and E030: the mount in REDIRECT_BASE_URL, and the one that Django knows."""
    base = conf.get("REDIRECT_BASE_URL")
    if not isinstance(base, str) or conf.base_url_fault(base):
        return
    mount, forced = urlsplit(base).path.rstrip("/"), settings.FORCE_SCRIPT_NAME
    hint = (
        f'Set FORCE_SCRIPT_NAME = "{mount}", so that pages, mails and workers have the same '
        "addresses; or take the path out of REDIRECT_BASE_URL where the site is at the root."
    )
    if mount and forced is None:
        yield Problem(
            "W023",
            f"REDIRECT_BASE_URL says that the site is under {mount}, and Django is not told so.",
            hint,
        )
    elif mount and str(forced).rstrip("/") != mount:
        yield Problem(
            "E030",
            f"REDIRECT_BASE_URL says that the site is under {mount}, and FORCE_SCRIPT_NAME under "
            f"{forced}.",
            hint,
        )


def deploy_problems() -> Iterator[Problem]:
    """W024: an address that depends on the request, or hosts that cannot finish what they began."""
    if not conf.provider_aliases():
        return
    if not conf.get("REDIRECT_BASE_URL"):
        yield Problem(
            "W024",
            "CONNECTED_ACCOUNTS has no REDIRECT_BASE_URL: the redirect URI depends on the host of "
            "each request, mails have no link, and a copy of the database would refresh too.",
            'Write the public address of the site, such as "https://app.example.org".',
        )
        return
    host = _base_host()
    for pattern in settings.ALLOWED_HOSTS:
        wide = pattern.startswith(".") and is_within(host, pattern[1:].lower())
        if wide and not shared_domain():
            yield Problem(
                "W024",
                f"Any host of {pattern[1:]} may be asked, and whoever connects elsewhere than on "
                f"{host} is not signed in when the service sends them back.",
                f'Set SESSION_COOKIE_DOMAIN = "{pattern}", or list in ALLOWED_HOSTS only the hosts '
                "that are used.",
            )


def url_problems() -> Iterator[Problem]:
    """E020 and W025: there is no callback among the site's URLs."""
    if not conf.provider_aliases() or _is_there("connected_accounts:callback", "any"):
        return
    if _is_there("connected_accounts_api:accounts"):
        yield Problem(
            "E020",
            "The URLs have connected_accounts.api.urls, but no callback.",
            "Include connected_accounts.urls too, or connected_accounts.callback_urls.",
        )
    else:
        yield Problem(
            "W025",
            "The app's URLs are not part of the site: nobody can connect an account.",
            'Add path("connections/", include("connected_accounts.urls")) to ROOT_URLCONF.',
        )


def _is_there(name: str, *args: str) -> bool:
    try:
        reverse(name, args=args)
    except NoReverseMatch:
        return False
    return True
