"""Slack, for a person: the token is not the answer's own, but stands in ``authed_user``.

After docs.slack.dev (reference of ``oauth.v2.access``), read 2026-11. A bot needs no class.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.token import value_at
from connected_accounts.providers.base import Identity
from connected_accounts.providers.generic import OAuth2

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse


class SlackUser(OAuth2):
    """A person's own account in a workspace."""

    name = "Slack"

    def parse_token_response(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        # The answer to a refresh is the person's own, and has no authed_user.
        person = payload.get("authed_user")
        return {**payload, **person} if isinstance(person, Mapping) else payload

    def fetch_identity(self, session: "ProviderSession | None", token: "TokenResponse") -> Identity:
        team = value_at(token.raw, "team.id")
        person = value_at(token.raw, "authed_user.id") or value_at(token.raw, "user_id")
        if not (isinstance(team, str) and isinstance(person, str)):
            raise UnexpectedResponse("no_identity")
        return Identity(f"{team}:{person}", str(value_at(token.raw, "team.name") or ""))
