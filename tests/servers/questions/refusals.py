"""The words of refusals, and the spellings of client credentials in HTTP Basic."""

from tests.servers.bare_client import ENCODINGS, Answer, BareClient

MANY = 120
DEAD = {"grant_type": "refresh_token", "refresh_token": "nobody-s-token"}


def dead_grant(client: BareClient) -> str:
    """A refresh token that was revoked, else one that was spent; and one that never was."""
    token = client.connect().refresh
    if client.entry.ends_by_revocation:
        client.revoke(token, "refresh_token")
    else:
        client.refresh(token)
    gone, unknown = client.refresh(token), client.post(client.entry.token, DEAD)
    told = "not ended" if gone.ok else gone.words
    return told if told == unknown.words else f"{told}; one that never was: {unknown.words}"


def wrong_secret(client: BareClient) -> str:
    """With a refresh token that lives; and the challenge that comes with the answer."""
    wrong = {"id": client.server.client["id"], "secret": "a-wrong-secret"}
    return _as_client(client, wrong)


def unknown_client(client: BareClient) -> str:
    return _as_client(client, {"id": "nobody", "secret": "a-wrong-secret"})


def _as_client(client: BareClient, who: dict[str, str]) -> str:
    token = client.connect().refresh
    data = {"grant_type": "refresh_token", "refresh_token": token}
    by_body = client.post_body(client.entry.token, data, who)
    by_basic = client.post_basic(client.entry.token, data, who, "raw")
    body, basic = by_body.words, by_basic.words + _challenge(by_basic)
    return body if body == basic else f"body: {body}; Basic: {basic}"


def _challenge(answer: Answer) -> str:
    scheme = answer.headers.get("WWW-Authenticate", "").split(" ")[0]
    return f", `{scheme}` challenge" if scheme else ""


def registered_for(client: BareClient) -> str:
    """The way of authentication that the site's client is registered for."""
    return f"`{client.entry.method}`"


def method_strict(client: BareClient) -> str:
    """The right secret sent in the way that the client is not registered for."""
    known = client.server.client
    data = {"grant_type": "refresh_token", "refresh_token": client.connect().refresh}
    if client.entry.method == "client_secret_basic":
        answer, name = client.post_body(client.entry.token, data, known), "`client_secret_post`"
    else:
        answer = client.post_basic(client.entry.token, data, known, "`%20`")
        name = "`client_secret_basic`"
    return f"{name} is taken too" if answer.ok else f"{name}: {answer.words}"


def basic_encodings(client: BareClient) -> str:
    """Which spellings of unusual ids and secrets are let in by HTTP Basic."""
    cells = []
    for label, known in client.server.clients.items():
        if label == "main":
            continue
        taken = [name for name in ENCODINGS if _let_in(client, known, name)]
        spelled = "all" if len(taken) == len(ENCODINGS) else ", ".join(taken) or "**none**"
        cells.append(f"{label}: {spelled}")
    return "; ".join(cells) or "it makes them itself, of letters and digits"


def _let_in(client: BareClient, known: dict[str, str], encoding: str) -> bool:
    """Whether what cannot succeed is refused in other words than a wrong secret is."""
    wrong = {**known, "secret": "a-wrong-secret"}
    # One server looks at a refresh token before it looks at the client.
    for data in (DEAD, {"grant_type": "client_credentials"}):
        right, refused = (
            client.post_basic(client.entry.token, dict(data), who, encoding)
            for who in (known, wrong)
        )
        if (right.status, right.body.get("error")) != (refused.status, refused.body.get("error")):
            return True
    return False


def too_many(client: BareClient) -> str:
    """Refreshes without a pause until the server has had enough."""
    for count in range(1, MANY + 1):
        answer = client.post(client.entry.token, dict(DEAD))
        if answer.status not in (400, 401):
            wait = [f"`{n}: {answer.headers[n]}`" for n in answer.headers if "retry" in n.lower()]
            after = ", ".join(wait) or "no `Retry-After`"
            return f"after {count - 1}: {answer.words}, {after}"
    return f"none in {MANY} requests"
