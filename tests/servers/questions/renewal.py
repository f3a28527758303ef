"""A refresh, the old pair after it, and the refresh token that was spent."""

import time

from tests.servers.bare_client import Answer, BareClient, Tokens
from tests.servers.person import Person

NO_REFRESH_TOKEN = "no refresh token"


def refresh_leaves(client: BareClient) -> str:
    """What a refresh brings, and what it leaves of the old pair."""
    old = client.connect()
    answer = client.refresh(old.refresh)
    new = Tokens.of(answer)
    if not new.refresh:
        token = "no refresh token, the old one goes on"
        if not client.renews(old.refresh):
            token = "**no refresh token, and the old one is spent**"
    elif new.refresh == old.refresh:
        token = "the same refresh token"
    else:
        token = "a new refresh token"
    access = "lives on" if client.lives(old.access) else "is dead at once"
    return f"{token}; the old access token {access}"


def spent_at_once(client: BareClient) -> str:
    """The spent refresh token again, as after an answer that was lost."""
    return _spent(client, 0)


def spent_after_1_s(client: BareClient) -> str:
    return _spent(client, 1)


def spent_after_31_s(client: BareClient) -> str:
    return _spent(client, 31)


def spent_after_use(client: BareClient) -> str:
    """The same, once the new refresh token was used too."""
    old = client.connect()
    new = Tokens.of(client.refresh(old.refresh), old)
    newest = Tokens.of(client.refresh(new.refresh), new)
    answer = client.refresh(old.refresh)
    if answer.ok and answer.body.get("refresh_token") == new.refresh != old.refresh:
        return "200, the pair that was used since"
    return _told(client, answer, old, newest)


def spent_and_others(client: BareClient) -> str:
    """Other grants of the person once a spent token was presented: of that browser, and another."""
    person = Person(client.entry)
    here, elsewhere = client.connect(person=person), client.connect()
    mine = client.connect(person=person)
    person.close()
    others = [one for one in (here, elsewhere) if client.lives(one.access)]
    if not others:
        return "ended by the newer grant before"
    new = Tokens.of(client.refresh(mine.refresh), mine)
    if new.refresh == mine.refresh:
        return "is not spent"
    client.refresh(mine.refresh)
    left = [client.lives(one.access) and client.renews(one.refresh) for one in others]
    return "live" if all(left) else "**some are dead**" if any(left) else "**all are dead**"


def _spent(client: BareClient, seconds: float) -> str:
    old = client.connect()
    new = Tokens.of(client.refresh(old.refresh), old)
    time.sleep(seconds)
    return _told(client, client.refresh(old.refresh), old, new)


def _told(client: BareClient, answer: Answer, old: Tokens, new: Tokens) -> str:
    """What is left of the grant after the spent token was answered so."""
    if new.refresh == old.refresh:
        return "is not spent" if answer.ok else f"{answer.words}, **and nothing else is left**"
    access, renews = client.lives(new.access), client.renews(new.refresh)
    if not answer.ok:
        rest = {True: "the new pair lives", False: "**the new pair is dead**"}
        half = "the new access token lives, the new refresh token is dead"
        return f"{answer.words}; {rest[access] if access == renews else half}"
    again = Tokens.of(answer)
    if again.refresh == new.refresh:
        return "200, the same pair again"
    last = "" if renews else ", **and the first answer's refresh token is dead**"
    return f"200, another pair{last}"


def scope_in_a_refresh(client: BareClient) -> str:
    """Fewer scopes named in a refresh, then none, then what is more than the grant."""
    first = client.connect()
    named = "the answer names the scope" if "scope" in first.body else "no answer names a scope"
    answer = client.refresh(first.refresh, scope=client.entry.fewer)
    if not answer.ok:
        return f"{named}; fewer: {answer.words}"
    fewer = Tokens.of(answer, first)
    answer = client.refresh(fewer.refresh)
    if not answer.ok:
        return f"{named}; fewer named: **the next refresh is {answer.words}**"
    after = set(str(answer.body.get("scope", "")).split())
    if "scope" in answer.body:
        narrow = "**narrowed for good**" if after <= set(client.entry.fewer.split()) else "for once"
        return f"{named}; fewer named: {narrow}"
    return named


def scope_beyond_the_grant(client: BareClient) -> str:
    """A scope in a refresh that nobody granted, and the refresh token after it."""
    first = client.connect()
    answer = client.refresh(first.refresh, scope=f"{client.entry.scope} beyond")
    if answer.ok:
        has_it = "beyond" in str(answer.body.get("scope", "")).split()
        return "200, **and it is given**" if has_it else "200, left out"
    kept = "the token is kept" if client.renews(first.refresh) else "**the token is spent by it**"
    return f"{answer.words}; {kept}"


def life_told(client: BareClient) -> str:
    """``expires_in`` at first and after a refresh, and whether the refresh token's life is told."""
    first = client.connect()
    later = Tokens.of(client.refresh(first.refresh), first)
    lives = [_seconds(one) for one in (first, later)]
    told = lives[0] if lives[0] == lives[1] else f"**{lives[0]}, then {lives[1]}**"
    names = [name for name in first.body if "refresh" in name and "expire" in name]
    return told + (f"; of the refresh token: `{names[0]}`" if names else "")


def _seconds(tokens: Tokens) -> str:
    value = tokens.body.get("expires_in")
    if value is None:
        return "not told"
    # Some tell what is left, which may be a second less than a whole life.
    return f"{round(float(value) / 10) * 10} s"
