"""The site's description of itself as a client, which servers read at its address in place of a
registration (draft-ietf-oauth-client-id-metadata-document-00)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig, is_host_name, is_safe_url
from connected_accounts.oauth2.resource import origin_url
from connected_accounts.providers.client.certificate import certificate_to_register
from connected_accounts.providers.client.keys import keys_to_register, signing_keys

OPTIONS: Final[Mapping[str, Any]] = {
    "client_name": "",
    "client_uri": "",
    "logo_uri": "",
    # The address of the site's metadata as a client, where it is not the app's own page.
    "client_metadata_url": "",
}


def document_url(alias: str, options: Mapping[str, Any], redirect_uri: str) -> str:
    """The address that the site is known by as a client; empty where it has none that others can
    reach."""
    if options["client_metadata_url"]:
        return str(options["client_metadata_url"])
    try:
        path = reverse("connected_accounts:client_metadata", args=[alias])
    except NoReverseMatch:
        return ""
    reachable = is_host_name(urlsplit(redirect_uri).hostname or "")
    reachable = reachable and redirect_uri.startswith("https:")
    return f"{origin_url(redirect_uri)}{path}" if reachable else ""


def names(options: Mapping[str, Any], redirect_uri: str) -> dict[str, str]:
    """The part of the metadata that people may be shown (RFC 7591 2)."""
    site = origin_url(redirect_uri)
    logo = {"logo_uri": options["logo_uri"]} if options["logo_uri"] else {}
    named = options["client_name"] or urlsplit(site).hostname or ""
    return {"client_name": named, "client_uri": options["client_uri"] or site, **logo}


def document_auth_method(config: ProviderConfig) -> str:
    """The client authentication that the document says the site has: its key, its certificate, or
    nothing."""
    if config.client_keys:
        return "private_key_jwt"
    return "none" if config.client_certificate is None else "tls_client_auth"


def document(
    config: ProviderConfig, address: str, redirect_uri: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """The document at ``address``: ``metadata``, as for a registration, with what the site proves
    itself by."""
    method = document_auth_method(config)
    keys: dict[str, Any] = {}
    if method == "private_key_jwt":
        keys = keys_to_register(config, redirect_uri)
    elif config.client_certificate is not None:
        keys = dict(certificate_to_register(config.client_certificate))
    for key in signing_keys(config)[:1]:
        wanted = config.options.get("token_endpoint_auth_signing_alg")
        if wanted or len(key.algorithms) == 1:
            keys["token_endpoint_auth_signing_alg"] = wanted or key.algorithms[0]
    told = {"client_id": address, "token_endpoint_auth_method": method}
    return {**metadata, **keys, **told}


def document_problems(where: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """E027: an address in the document that is none; ``where`` names the provider's entry."""
    for name in ("client_uri", "logo_uri", "client_metadata_url"):
        if options[name] and not is_safe_url(options[name]):
            yield Problem(
                "E027",
                f"{where}['OPTIONS'][{name!r}] is not an https URL.",
                "Write an address on the host of your site.",
            )


def address_problems(where: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """W022: nobody could read the document."""
    site = conf.get("REDIRECT_BASE_URL") or ""
    if not options["client_metadata_url"] and not site.startswith("https:"):
        yield Problem(
            "W022",
            f"{where}: the site has no https address to be known by.",
            "Set REDIRECT_BASE_URL to its public https address: then it needs no registration "
            "at servers that read a client's metadata there.",
        )
