"""The recorded answers of a service of the catalogue, with live values filled in.

``connected_accounts/catalogue/<name>.json`` holds them: ``token`` and ``identity`` are what a
success looks like, ``dead_grant``, ``dead_code`` and ``wrong_client`` are failures with their
status, where they are not those of RFC 6749. In them ``<access_token>``, ``<refresh_token>``,
``<expires_in>``, ``<scope>`` (or ``["<scopes>"]``), ``<subject>`` and ``<label>`` stand for what
the server gives out.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from connected_accounts.oauth2.session import origin_of
from connected_accounts.oauth2.token import value_at
from connected_accounts.providers.base import Provider
from connected_accounts.providers.catalogue.services import FOLDER, service
from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect, without_omitted
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import OMITTED, Grant, RegisteredClient

USUAL: Final[Mapping[str, Any]] = {
    "identity": None,
    "dead_grant": {"status": 400, "json": {"error": "invalid_grant"}},
    "wrong_client": {"status": 401, "json": {"error": "invalid_client"}},
}


@lru_cache
def recorded_answers(name: str) -> Mapping[str, Any] | None:
    """The answers of a service; None for one that has a dialect of its own in this kit."""
    file = FOLDER / f"{name}.json"
    if not file.exists():
        return None
    told: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {**USUAL, "dead_code": {**USUAL, **told}["dead_grant"], **told}


def filled(form: Any, values: Mapping[str, Any]) -> Any:
    """A recorded answer with the values in their places; a field without a value is left out."""
    if isinstance(form, dict):
        return without_omitted({name: filled(one, values) for name, one in form.items()})
    if form == ["<scopes>"]:
        return values["<scopes>"]
    if isinstance(form, list):
        return [filled(one, values) for one in form]
    return values.get(form, form) if isinstance(form, str) else form


class CatalogueDialect(Dialect):
    """One service. Its scopes are answered under its own names, as its file declares them."""

    @property
    def answers(self) -> Mapping[str, Any]:
        return recorded_answers(self.provider.config.service) or {}

    @classmethod
    def usual_behaviour(cls, provider: Provider) -> dict[str, Any]:
        known = service(provider.config.service)
        answers = recorded_answers(provider.config.service)
        if known is None or answers is None:
            return {}
        gives = "<refresh_token>" in json.dumps(answers["token"])
        return {
            "rotates": known.refresh == "rotates",
            "omit_refresh_token": not gives,
            "expires_in": known.access_token_life or 86400,
        }

    def endpoint_of(self, url: str, method: str = "POST") -> str | None:
        own = value_at(self.answers["token"], self.provider.api_base_field or "-")
        if own and origin_of(url) == origin_of(own):
            return "api"
        return super().endpoint_of(url, method)

    def addresses(self) -> dict[str, tuple[str, ...]]:
        own = filter(None, (self.endpoints.registration_endpoint,))
        return super().addresses() | {"registration": tuple(own)}

    def registration(self, request: RecordedRequest) -> Answer:
        """Mastodon's way: older than RFC 7591, and answered with less."""
        asked = request.fields
        if not (asked.get("client_name") and asked.get("redirect_uris")):
            return Answer(422, {"error": "Validation failed"})
        secret, uris = self.server.new_secret("client-secret"), (str(asked["redirect_uris"]),)
        client = f"client-{len(self.server.clients) + 1}"
        self.server.clients.append(RegisteredClient(client, secret, client, redirect_uris=uris))
        return Answer(200, {"id": "1", "client_id": client, "client_secret": secret})

    def scopes_as_answered(self, grant: Grant) -> list[str]:
        """The other way round than ``Provider.scopes_granted``."""
        provider = self.provider
        names = {asked: answered for answered, asked in provider.scope_aliases.items()}
        wide = [scope for scope in grant.scopes if scope in provider.scope_includes]
        swallowed = {one for scope in wide for one in provider.scope_includes[scope]}
        silent = swallowed | set(provider.unnamed_scopes)
        return [names.get(scope, scope) for scope in grant.scopes if scope not in silent]

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        provider, behaviour = self.provider, self.server.behaviour
        scopes = self.scopes_as_answered(grant)
        separator = provider.granted_scope_separator or provider.scope_separator
        values = self._of(grant) | {
            "<access_token>": grant.access_token,
            "<refresh_token>": self.shown_refresh_token(grant),
            "<expires_in>": behaviour.expires_in,
            "<scope>": separator.join(scopes),
            "<scopes>": scopes,
        }
        fields: dict[str, Any] = filled(self.answers["token"], values)
        if behaviour.refresh_token_expires_in is not OMITTED:
            fields[provider.refresh_token_expires_in_field] = behaviour.refresh_token_expires_in
        return fields | ({"token_type": "DPoP"} if grant.thumbprint else {})

    def identity_fields(self, grant: Grant) -> dict[str, Any]:
        fields: dict[str, Any] = filled(self.answers["identity"], self._of(grant))
        return fields

    def _of(self, grant: Grant) -> dict[str, Any]:
        return {"<subject>": grant.subject, "<label>": grant.label}

    def grant_refusal(self, why: str) -> Answer:
        of_refresh = why in ("refresh_token", "half_revoked")
        return self._failure("dead_grant" if of_refresh else "dead_code")

    def invalid_client(self, by_header: bool) -> Answer:
        return self._failure("wrong_client")

    def _failure(self, name: str) -> Answer:
        told = self.answers[name]
        return Answer(told["status"], told["json"])
