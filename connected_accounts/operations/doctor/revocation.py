"""Trying a provider's revocation endpoint, with a token that nobody ever had."""

from collections.abc import Sequence
from typing import Final

from connected_accounts.models import Outcome
from connected_accounts.operations.doctor.credentials import (
    CHECK_CLIENT,
    no_answer,
    wrong_client,
)
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked, warning
from connected_accounts.operations.doctor.tries import Call, Kind, Said, attempt, made_up
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.secret import SecretFields
from connected_accounts.tokens.endpoint import revoke_token

REVOCATION: Final = "revocation"


def _names_no_client(provider: Provider) -> bool:
    return provider.revocation_auth_method == "bare"


def asks_revocation_endpoint(provider: Provider, endpoints: Endpoints) -> bool:
    named = bool(provider.client.client_id) or _names_no_client(provider)
    return bool(endpoints.revocation_endpoint) and named


def revocation_finding(provider: Provider, endpoints: Endpoints, calls: Sequence[Call]) -> Finding:
    """Whether a disconnect can withdraw what was granted, tried as a disconnect does it: one token,
    and the other where the first is not for revoking. ``calls`` are those that are watched."""
    if not endpoints.revocation_endpoint:
        where = provider.manage_url_for(provider.inputs)
        by_hand = f" People withdraw it at {where}." if where else ""
        return unchecked(REVOCATION, f"The provider has no revocation endpoint.{by_hand}")
    if not asks_revocation_endpoint(provider, endpoints):
        return unchecked(REVOCATION, "There is no client to try it with.")
    first = provider.revoke_token_type_hint
    other = "access_token" if first == "refresh_token" else "refresh_token"
    for hint in (first, other):
        outcome, said = _revoke_made_up(provider, endpoints, calls, hint)
        if outcome is not Outcome.UNSUPPORTED:
            break
    else:
        return error(
            REVOCATION,
            "The revocation endpoint does not revoke.",
            "Correct revocation_endpoint, or leave it empty; then nothing is withdrawn.",
        )
    if said.kind is Kind.CLIENT_REFUSED:
        return error(REVOCATION, "The provider refuses the client there.", CHECK_CLIENT)
    if said.kind in (Kind.NONE, Kind.NOT_SENT):
        return no_answer(REVOCATION, said.problem)
    if said.kind is Kind.REFUSED:
        return _of_unknown_token(said)
    if outcome is Outcome.UNCONFIRMED:
        return ok(REVOCATION, "It says yes, which proves nothing: people are told to look there.")
    if outcome is Outcome.REVOKED and _says_yes_to_anybody(provider, endpoints, calls, hint):
        return warning(
            REVOCATION,
            "The revocation endpoint says yes to anything, wrong credentials too.",
            "Its yes proves nothing: see at the provider if a disconnect ends it. If not, set "
            '"revocation_confirms": False, and people are told to look there.',
        )
    if hint != first:
        words = hint.replace("_", " ")
        advice = f'Set "revoke_token_type_hint": "{hint}".'
        return ok(REVOCATION, f"The {words} alone can be revoked.", advice)
    return ok(REVOCATION, "Tokens can be revoked.")


def _revoke_made_up(
    provider: Provider, endpoints: Endpoints, calls: Sequence[Call], hint: str
) -> tuple[Outcome | None, Said]:
    outcomes: list[Outcome] = []
    said = attempt(
        lambda: outcomes.append(revoke_token(provider, endpoints, SecretFields({hint: made_up()}))),
        calls,
    )
    return (outcomes[0] if outcomes else None), said


def _of_unknown_token(said: Said) -> Finding:
    return warning(
        REVOCATION,
        f"A token that the provider does not know is refused ({said.text}).",
        f'Set "already_revoked_text": "{said.text}", if that is how it says so. Else what a person '
        "withdrew there first is tried again for as long as REVOKE_GIVE_UP_AFTER says.",
    )


def _says_yes_to_anybody(
    provider: Provider, endpoints: Endpoints, calls: Sequence[Call], hint: str
) -> bool:
    if _names_no_client(provider):
        return False  # it has only the token to go by
    wrong = provider.bound(client=wrong_client(provider))
    outcome, _said = _revoke_made_up(wrong, endpoints, calls, hint)
    return outcome is Outcome.REVOKED
