"""The document that is sealed and stored for a token answer."""

from typing import Any

from connected_accounts.oauth2.dpop import BoundToken
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.secret import Secret, SecretFields


def token_document(
    token: TokenResponse,
    *,
    previous: SecretFields | None = None,
    redirect_uri: str = "",
    after_refusal: bool = False,
) -> SecretFields:
    """The document to seal and store for a token answer, and whether it was asked for because the
    one before was refused. A refresh that gives no new refresh token keeps the old one (RFC 6749
    6)."""
    before = previous or SecretFields({})

    def text(secret: Secret | None, name: str) -> Any:
        return secret.reveal() if secret is not None else before.get(name)

    document = {
        "access_token": token.access_token.reveal(),
        "refresh_token": text(token.refresh_token, "refresh_token"),
        "id_token": text(token.id_token, "id_token"),
        "expires_in": token.expires_in,
        "refresh_token_expires_in": token.refresh_token_expires_in,
        "redirect_uri": redirect_uri or before.get("redirect_uri"),
    }
    api_base = token.api_base or before.get("api_base")
    document |= {"api_base": api_base} if api_base else {}
    if isinstance(token.access_token, BoundToken):
        document["dpop_key"] = token.access_token.key.reveal()
    return SecretFields(document | ({"after_refusal": True} if after_refusal else {}))


def proof_key_of(document: SecretFields) -> Secret | None:
    """The private key that a stored grant is bound to (RFC 9449), or None."""
    key = document.get("dpop_key")
    return Secret(key) if key else None


def access_token_of(document: SecretFields) -> Secret:
    """The access token of a stored grant, with its key where it is bound to one."""
    token, key = document["access_token"], proof_key_of(document)
    return Secret(token) if key is None else BoundToken(token, key)
