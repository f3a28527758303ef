"""The site's description of itself for registering at a Badge Connect host."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from django.conf import settings
from django.templatetags.static import static

ADDRESSES: Final = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
# Of the backend's options; what is empty has a default that depends on the site's address.
DESCRIPTION: Final[Mapping[str, str]] = {
    "client_name": "",
    **dict.fromkeys(ADDRESSES, ""),
    "software_id": "django-connected-accounts",
    "software_version": "",
}


def client_description(options: Mapping[str, Any], redirect_uri: str) -> dict[str, str]:
    """Both specifications want every field, and all addresses on the redirect URI's host."""
    site = urljoin(redirect_uri, "/")
    description = {name: options[name] or site for name in ADDRESSES}
    # A host may fetch it while it answers (badgr-server does, PNG or SVG; seen).
    logo = urljoin(site, static("connected_accounts/client.svg"))
    return description | {
        "logo_uri": options["logo_uri"] or logo,
        "client_name": options["client_name"] or urlsplit(site).hostname or "",
        "software_id": options["software_id"],
        "software_version": options["software_version"] or _version(),
    }


def addresses_elsewhere(options: Mapping[str, Any], site: str) -> list[str]:
    """Those of the addresses that are not on the host and port of ``site``: hosts want one for all
    (badgr-server counts the port, seen)."""
    # The files themselves may not be collected yet.
    shown = {name: options[name] or site for name in ADDRESSES}
    shown["logo_uri"] = options["logo_uri"] or urljoin(site, settings.STATIC_URL or "")
    here = urlsplit(site).netloc.lower()
    return [name for name, url in shown.items() if urlsplit(url).netloc.lower() != here]


def _version() -> str:
    try:
        return version("django-connected-accounts")
    except PackageNotFoundError:  # a copy of the source, not installed
        return "0"
