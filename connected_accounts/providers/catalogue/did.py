"""The identities of atproto: from an account's DID to the server that holds it, and its handle.

After atproto.com/specs/did and atproto.com/specs/handle, read 2026-11.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import requests

from connected_accounts.conf import is_host_name, is_safe_url
from connected_accounts.exceptions import ProviderError, UnexpectedResponse
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.resource import origin_url
from connected_accounts.oauth2.token import parse_json_object

SERVICE: Final = "AtprotoPersonalDataServer"
_PLC: Final = re.compile(r"did:plc:[a-z2-7]{24}", re.ASCII)
_WEB: Final = "did:web:"
HANDLE_SECONDS: Final = 5.0  # for what is shown only


def did_document(did: str, *, directory: str) -> Mapping[str, Any]:
    """The document of a ``did:plc``, out of ``directory``, or of a ``did:web``, from its host.

    Raises ProviderUnavailable, and UnexpectedResponse: ``no_identity`` for what is no DID that
    accounts of atproto have, or has no document of its own."""
    host = did.removeprefix(_WEB)
    if _PLC.fullmatch(did):
        url, public = f"{directory.rstrip('/')}/{did}", False  # settings name it
    elif did.startswith(_WEB) and is_host_name(host):
        url, public = f"https://{host}/.well-known/did.json", True
    else:
        raise UnexpectedResponse("no_identity")
    answer = transport.fetch(requests.Request("GET", url), public=public)
    answer.raise_if_unavailable()
    document = parse_json_object(answer.body) if answer.status == 200 else None
    if document is None or document.get("id") != did:
        raise UnexpectedResponse("no_identity", status=answer.status)
    return document


def server_in(document: Mapping[str, Any]) -> str:
    """The origin of the account's server (PDS). Raises UnexpectedResponse (``no_identity``)."""
    services = document.get("service")
    for one in services if isinstance(services, list) else []:
        if not isinstance(one, Mapping) or one.get("type") != SERVICE:
            continue
        named, url = one.get("id"), one.get("serviceEndpoint")
        if named not in ("#atproto_pds", f"{document['id']}#atproto_pds"):
            continue
        if isinstance(url, str) and is_safe_url(url) and url.rstrip("/") == origin_url(url):
            return origin_url(url)
    raise UnexpectedResponse("no_identity")


def handle_of(document: Mapping[str, Any]) -> str:
    """The account's handle, where the handle's own host names the account too; else nothing: a
    document may claim any."""
    names = document.get("alsoKnownAs")
    for name in names if isinstance(names, list) else []:
        handle = name.removeprefix("at://").lower() if isinstance(name, str) else ""
        if handle == name or not is_host_name(handle):
            continue
        request = requests.Request("GET", f"https://{handle}/.well-known/atproto-did")
        with suppress(ProviderError):
            answer = transport.fetch(request, public=True, seconds=HANDLE_SECONDS)
            if answer.status == 200 and answer.body.strip() == document["id"].encode():
                return handle
        return ""  # the first is the one that counts
    return ""
