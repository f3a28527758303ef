"""Servers of one's own in settings, and fakes whose answers a test changes."""

from collections.abc import Callable
from typing import Any

from connected_accounts.testing import Answer, FakeProvider


def name_server(
    settings: Any, alias: str, options: dict[str, Any] | None = None, **entry: Any
) -> None:
    """Put ``generic.OAuth2`` into settings: ``name_server(settings, "zendesk", SCOPES=["read"])``.

    An option that is None is left out.
    """
    url = f"https://{alias}.example"
    declared = {
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "userinfo_endpoint": f"{url}/me",
        "revocation_endpoint": f"{url}/revoke",
        "api_base_url": f"{url}/api",
        **(options or {}),
    }
    one = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": "id",
        "CLIENT_SECRET": "secret",
        "OPTIONS": {name: value for name, value in declared.items() if value is not None},
        **entry,
    }
    whole = settings.CONNECTED_ACCOUNTS
    settings.CONNECTED_ACCOUNTS = whole | {"PROVIDERS": whole["PROVIDERS"] | {alias: one}}


def answering(fake: FakeProvider, change: Callable[[Any, Callable[[Any], Answer]], Answer]) -> None:
    """Let ``change(seen, answer)`` alter, or replace, each answer of the token endpoint."""
    own = fake._dialect.token

    def changed(request: Any) -> Answer:
        return change(request, own)

    fake._dialect.token = changed  # type: ignore[method-assign]


def with_fields(fake: FakeProvider, **fields: Any) -> None:
    """Let each good answer of the token endpoint have these fields; one that is ``...`` has not."""

    def change(seen: Any, own: Callable[[Any], Answer]) -> Answer:
        answer = own(seen)
        if answer.status == 200 and isinstance(answer.json, dict):
            answer.json.update(fields)
            for name in [name for name, value in fields.items() if value is ...]:
                del answer.json[name]
        return answer

    answering(fake, change)
