"""Mastodon: a server for each community, at which the site makes itself a client.

After docs.joinmastodon.org (methods/apps and methods/oauth), read 2026-11.
"""

from typing import Any
from urllib.parse import urljoin, urlsplit

from connected_accounts.providers.generic import OAuth2


class Mastodon(OAuth2):
    """Any public server that a person names."""

    name = "Mastodon"

    def registration(self, redirect_uri: str, scopes: list[str]) -> dict[str, Any]:
        # Older than RFC 7591, and with names of its own.
        site = urljoin(redirect_uri, "/")
        return {
            "client_name": urlsplit(site).hostname or "",
            "redirect_uris": redirect_uri,
            "scopes": " ".join(scopes),
            "website": site,
        }
