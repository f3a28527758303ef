"""An OAuth client of a few lines, which puts bare questions to a server."""

import base64
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import requests

from tests.sandbox.sandbox_client import S256, VERIFIER
from tests.servers.listed import CALLBACK, GUARD, Running
from tests.servers.person import Person


@dataclass
class Answer:
    """What an endpoint said."""

    status: int
    body: dict[str, Any]
    text: str
    headers: Any

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def words(self) -> str:
        """The status and the error's name, as a table has them."""
        if self.ok:
            return "200"
        error = self.body.get("error")
        if isinstance(error, str):
            return f"{self.status} `{error}`"
        return f"{self.status}, {'no error named' if self.text else 'empty'}"


@dataclass
class Tokens:
    access: str
    refresh: str
    body: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Answer, before: "Tokens | None" = None) -> "Tokens":
        assert answer.ok, (answer.status, answer.text[:500])
        kept = answer.body.get("refresh_token") or (before.refresh if before else "")
        return cls(answer.body["access_token"], kept, answer.body)


def percent_all(text: str) -> str:
    """Everything but letters and digits."""
    return "".join(c if c.isalnum() else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


ENCODINGS = {
    "raw": str,
    "`+`": quote_plus,
    "`%20`": lambda t: quote(t, safe=""),
    "all": percent_all,
}


class BareClient:
    """The site's client at one server, by ``requests`` alone."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.entry = server.entry

    def authorize(
        self, *, agree: bool = True, scope: str = "", person: Person | None = None
    ) -> Any:
        query = {
            "response_type": "code", "client_id": self.server.client["id"],
            "redirect_uri": CALLBACK, "scope": scope or self.entry.scope, "state": "state",
            "nonce": "nonce", **S256, **self.entry.params,
        }  # fmt: skip
        someone = person or Person(self.entry)
        try:
            url = f"{self.server.url}{self.entry.authorize}?{urlencode(query)}"
            return someone.walk(url, agree=agree)
        finally:
            if person is None:
                someone.close()

    def rest(self) -> None:
        """Wait as long as the server needs between two tokens of one person."""
        time.sleep(self.entry.pause)

    def exchange(self, code: str) -> Answer:
        self.rest()
        data = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }  # fmt: skip
        return self.post(self.entry.token, data)

    def connect(self, *, person: Person | None = None, scope: str = "") -> Tokens:
        back = self.authorize(person=person, scope=scope)
        assert "code" in back, back
        return Tokens.of(self.exchange(back["code"]))

    def refresh(self, token: str, **more: str) -> Answer:
        self.rest()
        data = {"grant_type": "refresh_token", "refresh_token": token, **more}
        return self.post(self.entry.token, data)

    def revoke(self, token: str, hint: str = "") -> Answer:
        hinted = {"token_type_hint": hint} if hint else {}
        return self.post(self.entry.revoke, {"token": token, **hinted})

    def post(self, path: str, data: dict[str, str], client: dict[str, str] | None = None) -> Answer:
        client = client or self.server.client
        if self.entry.method == "client_secret_basic":
            return self.post_basic(path, data, client, "`%20`")
        return self._send(path, {**data, **in_body(client)}, {})

    def post_basic(
        self, path: str, data: dict[str, str], client: dict[str, str], encoding: str
    ) -> Answer:
        encode = ENCODINGS[encoding]
        pair = f"{encode(client['id'])}:{encode(client['secret'])}"
        header = "Basic " + base64.b64encode(pair.encode()).decode()
        return self._send(path, data, {"Authorization": header})

    def post_body(self, path: str, data: dict[str, str], client: dict[str, str]) -> Answer:
        return self._send(path, {**data, **in_body(client)}, {})

    def _send(self, path: str, data: dict[str, str], headers: dict[str, str]) -> Answer:
        url = self.server.url + path
        answer = requests.post(url, data=data, headers=headers, timeout=20)
        try:
            body = answer.json()
        except ValueError:
            body = {}
        body = body if isinstance(body, dict) else {}
        return Answer(answer.status_code, body, answer.text, answer.headers)

    def lives(self, access: str) -> bool:
        """Whether the access token is taken by what the server ships to guard an API."""
        if self.entry.introspect:
            answer = self.post_body(self.entry.introspect, {"token": access}, GUARD)
            return bool(answer.body.get("active"))
        headers = {"Authorization": f"Bearer {access}"}
        answer = requests.get(self.server.url + self.entry.api, headers=headers, timeout=20)
        assert answer.status_code < 500, (answer.status_code, answer.text[:300])
        return answer.status_code not in (401, 403)

    def renews(self, refresh: str) -> bool:
        """Whether the refresh token brings an access token. It is spent by the question."""
        return bool(refresh) and self.refresh(refresh).ok


def in_body(client: dict[str, str]) -> dict[str, str]:
    return {"client_id": client["id"], "client_secret": client["secret"]}
