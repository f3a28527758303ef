"""Badgr, also known as Canvas Credentials and Parchment Digital Badges.

Behaviour is that of badgr-server 3.14.1, its last public release (2021-01-25), as seen on a running
server, and of developerdocs.instructure.com/services/parchment-digital-badges (2026-02).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2.token import wait_seconds
from connected_accounts.providers.base import Endpoints, Identity, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["Badgr"]

PROFILE: Final = {"r:profile", "rw:profile"}  # either tells who it is
REGIONS: Final = ("us", "eu", "ca", "au", "sg", "test", "demo")


def hosts(brand: str, region: str) -> tuple[str, str]:
    """The page host, for authorize, and the API host, for the rest. Keys belong to one region.

    The page hosts badges.parchment.* are known from public badge links only (2025-12).
    """
    if brand == "parchment":
        country = region if region in ("eu", "ca", "au", "sg") else "com"
        stage = f"{region}." if region in ("test", "demo") else ""
        place = f"{stage}badges.parchment.{country}"
        return f"https://{place}", f"https://api.{place}"
    place = "" if region == "us" else f"{region}."
    top = "com" if region in ("test", "demo") else "io"
    return f"https://{place}badgr.com", f"https://api.{place}badgr.{top}"


class Badgr(Provider):
    """Badgr: hosted, by ``region`` and ``brand``, or a server by ``ui_base`` and ``api_base``."""

    name = "Badgr"
    default_scopes = ("r:profile", "r:backpack")
    scope_descriptions: Mapping[str, Any] = {
        "r:profile": _("See your name and e-mail addresses"),
        "rw:profile": _("See and change your profile"),
        "r:backpack": _("See the badges in your backpack"),
        "rw:backpack": _("See your badges, add badges and change your collections"),
        "r:issuer": _("See the issuers you work for, and their badges and awards"),
        "rw:issuer": _("Create badges and award them for the issuers you work for"),
    }
    # Basic is split at the colon without decoding (seen).
    basic_auth_encoding = "raw"
    docs_url = "https://developerdocs.instructure.com/services/parchment-digital-badges"
    own_options: ClassVar[Mapping[str, Any]] = {
        "region": "us",
        "brand": "badgr",
        "ui_base": "",
        "api_base": "",
    }

    @classmethod
    def problems(cls, config: ProviderConfig) -> "Iterator[Problem]":
        options = {**cls.own_options, **config.options}
        if options["region"] not in REGIONS or options["brand"] not in ("badgr", "parchment"):
            yield Problem(
                "E011",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS'] names no known "
                f"region of Badgr: {options['brand']!r} {options['region']!r}.",
                f"region is one of {', '.join(REGIONS)}; brand is badgr or parchment; for a server "
                "of your own write ui_base and api_base.",
            )
        known = set(cls.scope_descriptions) - ({"r:issuer"} if options["api_base"] else set())
        wanted = [*(config.scopes or ()), *config.optional_scopes]
        strange = [scope for scope in wanted if scope not in known]
        if strange:
            yield Problem(
                "W008",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]: Badgr is not known to have "
                f"{', '.join(strange)}.",
                "Remove it, unless your application was given it. A scope that the application "
                "does not have is a 400 at Badgr: the person stays there, and does not come back.",
            )

    @property
    def scopes(self) -> tuple[str, ...]:
        """The site's SCOPES, and ``r:profile`` in any case: each application has it, and without it
        Badgr does not say who the person is."""
        wanted = super().scopes
        return wanted if PROFILE & set(wanted) else ("r:profile", *wanted)

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        ui_host, api_host = hosts(self.options["brand"], self.options["region"])
        ui = (self.options["ui_base"] or ui_host).rstrip("/")
        api = (self.options["api_base"] or api_host).rstrip("/")
        return Endpoints(
            authorization_endpoint=f"{ui}/auth/oauth2/authorize",
            token_endpoint=f"{api}/o/token",
            # Without the slash it redirects, and nothing is revoked (seen).
            revocation_endpoint=f"{api}/o/revoke_token/",
            userinfo_endpoint=f"{api}/v2/users/self",
            api_base_url=api,
        )

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        error = payload.get("error")
        if status == 429:
            # The wait is in the body, not in Retry-After, and all of a worker's refreshes share it.
            wait = wait_seconds(payload.get("expires"))
            return ProviderUnavailable("throttled", status=status, retry_after=wait)
        if error in ("invalid client_secret", "invalid client_id"):  # with Basic (seen)
            return ClientRejected("invalid_client", status=status)
        return super().classify_error(status, payload)

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        userinfo = self.endpoints().userinfo_endpoint
        # /v2/user/profile is in Badgr's guide, but 404 on the public server, where v1 answers.
        for url in (userinfo, "/v2/user/profile", "/v1/user/profile"):
            try:
                document = session.fetch("GET", url)
            except UnexpectedResponse as error:
                if error.status != 404:
                    raise
            else:
                return _identity(document)
        raise UnexpectedResponse("no_identity")


def _identity(document: Any) -> Identity:
    results = document.get("result") if isinstance(document, dict) else None
    profile = results[0] if isinstance(results, list) and results else document
    if not isinstance(profile, dict):
        raise UnexpectedResponse("no_identity")
    subject = profile.get("entityId") or profile.get("slug")
    if not isinstance(subject, str) or not subject:
        raise UnexpectedResponse("no_identity")
    listed = profile.get("emails")
    emails = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    verified = [e.get("email") for e in emails if e.get("verified") and e.get("primary")]
    names = (profile.get("firstName"), profile.get("lastName"))
    full_name = " ".join(part for part in names if isinstance(part, str) and part)
    label = (verified or [None])[0] or profile.get("email") or full_name
    return Identity(subject, label if isinstance(label, str) else "")
