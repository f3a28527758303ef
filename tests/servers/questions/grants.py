"""What ends what: revocations, a second authorization, a code that comes twice, a refusal."""

from tests.servers.bare_client import BareClient, Tokens
from tests.servers.person import Person, Stopped

NONE = "no such endpoint"


def refresh_token_revoked(client: BareClient) -> str:
    """The grant after its refresh token was revoked, and other grants of the person."""
    if not client.entry.revoke:
        return NONE
    return _revoked(client, "refresh_token")


def access_token_revoked(client: BareClient) -> str:
    if not client.entry.revoke:
        return NONE
    return _revoked(client, "access_token")


def _revoked(client: BareClient, which: str) -> str:
    person = Person(client.entry)
    here, elsewhere = client.connect(person=person), client.connect()
    mine = client.connect(person=person)
    person.close()
    ended_before = not client.lives(elsewhere.access)
    answer = client.revoke(mine.refresh if which == "refresh_token" else mine.access, which)
    if not answer.ok:
        return answer.words
    others = [_left(client, other) for other in (here, elsewhere)]
    if ended_before:
        beside = "other grants were ended by this one before"
    elif others == ["both live", "both live"]:
        beside = "other grants live"
    else:
        beside = f"**other grants, same browser: {others[0]}; another browser: {others[1]}**"
    left = _left(client, mine)
    return f"{'**both live**' if left == 'both live' else left}; {beside}"


def _left(client: BareClient, tokens: Tokens) -> str:
    access, renews = client.lives(tokens.access), client.renews(tokens.refresh)
    if access == renews:
        return "both live" if access else "both dead"
    return "the access token lives" if access else "the refresh token lives"


def revoked_without_a_hint(client: BareClient) -> str:
    """A refresh token with no hint, and with the wrong one (RFC 7009 2.1: a hint only helps)."""
    if not client.entry.revoke:
        return NONE
    seen = []
    for hint in ("", "access_token"):
        tokens = client.connect()
        answer = client.revoke(tokens.refresh, hint)
        ends = not client.renews(tokens.refresh)
        seen.append("ends" if answer.ok and ends else f"{answer.words}, **lives**")
    return (
        f"none: {seen[0]}; wrong: {seen[1]}" if seen[0] != seen[1] else f"none or wrong: {seen[0]}"
    )


def unknown_token_revoked(client: BareClient) -> str:
    return client.revoke("nobody-s-token", "refresh_token").words if client.entry.revoke else NONE


def second_authorization(client: BareClient) -> str:
    """A second one of the same person and client, in the same browser and in another."""
    seen = []
    for same in (True, False):
        person = Person(client.entry)
        first = client.connect(person=person)
        client.connect(person=person if same else None)
        seen.append(_left(client, first))
        person.close()
    told = ["the first lives" if left == "both live" else f"**the first: {left}**" for left in seen]
    return told[0] if told[0] == told[1] else f"same browser: {told[0]}; another: {told[1]}"


def code_twice(client: BareClient) -> str:
    """The code again, and what was got for it at first."""
    code = client.authorize()["code"]
    first = Tokens.of(client.exchange(code))
    again = client.exchange(code)
    return f"{again.words}; the first tokens: {_left(client, first)}"


def refusal(client: BareClient) -> str:
    """The person says no."""
    if client.entry.asks_nobody:
        return "asks nobody"
    try:
        back = client.authorize(agree=False)
    except Stopped as stopped:
        location = (
            " and a `Location` that nobody follows" if "Location" in stopped.answer.headers else ""
        )
        return f"**stays on the server's page**: {stopped.answer.status_code}{location}"
    extra = [name for name in ("state", "iss") if name in back]
    return f"`{back.get('error')}` with {', '.join(extra)}"
