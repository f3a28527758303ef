"""The fake's authorization server: codes and grants in memory, no HTTP and no dialect."""

import math
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from connected_accounts.oauth2.pkce import code_challenge

# What every value begins with that must not be seen anywhere: what a leak scan looks for.
CANARY: Final = "canary-"
PUSHED_LIFE: Final = 60  # seconds that a pushed request waits for its person


def same_secret(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(), wanted.encode())


class _Omitted:
    def __repr__(self) -> str:
        return "OMITTED"


AS_USUAL: Final = object()  # given for a behaviour: that of the dialect
OMITTED: Final = _Omitted()
"""Given for ``expires_in``: the answer does not have the field."""


class Refused(Exception):
    """The server says no. ``why`` is ``client``, ``code``, ``code_expired``, ``redirect_uri``,
    ``verifier``, ``proof``, ``refresh_token`` or ``half_revoked``."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Behaviour:
    """The way that the server issues tokens; a test may change it at any moment."""

    rotates: bool = True
    omit_refresh_token: bool = False
    expires_in: Any = 86400
    refresh_token_expires_in: Any = OMITTED
    code_lifetime: float = 60.0
    reuse_window: float = 0.0
    proof_nonce: str = ""


@dataclass
class Grant:
    """A person's grant, and the tokens that stand for it now; None: not, or no longer."""

    subject: str
    label: str
    scopes: tuple[str, ...]
    redirect_uri: str
    access_token: str | None = None
    refresh_token: str | None = None
    spent: set[str] = field(default_factory=set)
    # The refresh token that was rotated out last, and until when it is taken once more.
    previous: str = ""
    previous_until: float = 0.0
    # When the tokens' lives end, on the server's clock; None: never.
    access_token_ends: float | None = None
    refresh_token_ends: float | None = None
    thumbprint: str = ""  # of the key that its tokens are bound to (RFC 9449)

    @property
    def is_alive(self) -> bool:
        return self.access_token is not None or self.refresh_token is not None

    def revoke(self) -> None:
        self.spent |= {self.refresh_token} if self.refresh_token else set()
        self.access_token = self.refresh_token = None


@dataclass(frozen=True)
class RegisteredClient:
    """A client of the server, and whose its own credentials are (RFC 6749 4.4)."""

    client_id: str
    client_secret: str
    subject: str
    label: str = ""
    redirect_uris: tuple[str, ...] | None = None  # None: any


@dataclass
class Code:
    """An authorization code that was handed out, once to be spent."""

    grant: Grant
    challenge: str
    expires_at: float
    used: bool = False


class AuthorizationServer:
    """Issues, rotates, finds and revokes. Tokens are strings that begin with ``CANARY``."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.clients: list[RegisteredClient] = []
        self.grants: list[Grant] = []
        self.codes: dict[str, Code] = {}
        self._pushed: dict[str, tuple[dict[str, str], float]] = {}  # and until when
        self.secrets: set[str] = set()
        self.presentations: Counter[str] = Counter()
        self._owners: dict[str, Grant] = {}  # of every token that was ever handed out
        self.reuses = 0
        self._ahead = 0.0  # of the machine's clock, in seconds

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Put the server's clock forward, and end the tokens whose time is up."""
        self._ahead += seconds
        for grant in self.grants:
            if grant.access_token and (grant.access_token_ends or math.inf) <= self.now():
                grant.access_token = self.new_secret("expired")
            if grant.refresh_token and (grant.refresh_token_ends or math.inf) <= self.now():
                grant.refresh_token = None

    def _end_of(self, life: Any) -> float | None:
        """When a life ends that begins now; None for one that is not told in seconds."""
        try:
            return self.now() + float(life)
        except (TypeError, ValueError):
            return None

    def new_secret(self, kind: str) -> str:
        value = f"{CANARY}{kind}-{secrets.token_hex(16)}"
        self.secrets.add(value)
        return value

    def client(self, client_id: str, secret: str | None) -> RegisteredClient | None:
        """The client with these credentials; with ``secret`` None, with this id."""
        for client in self.clients:
            if client.client_id == client_id and (
                secret is None or same_secret(secret, client.client_secret)
            ):
                return client
        return None

    def knows(self, text: str) -> bool:
        """Whether a code or token that was handed out here stands in a text."""
        return any(value in text for value in (*self.codes, *self._owners))

    def push(self, asked: dict[str, str]) -> str:
        """Keep a request, and name it."""
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(16)}"
        self._pushed[uri] = (asked, self.now() + PUSHED_LIFE)
        return uri

    def pushed(self, uri: str) -> dict[str, str]:
        """The request of that name, once; empty: there is none, or no longer."""
        asked, ends = self._pushed.pop(uri, ({}, 0.0))
        return asked if self.now() < ends else {}

    def authorize(self, grant: Grant, challenge: str) -> str:
        """Hand out a code for a grant; the grant counts from when the code is spent."""
        value = self.new_secret("code")
        ends = self.now() + self.behaviour.code_lifetime
        self.codes[value] = Code(grant, challenge, ends)
        return value

    def redeem(
        self, value: str, *, redirect_uri: str, verifier: str, thumbprint: str = ""
    ) -> Grant:
        """Spend a code (RFC 6749 4.1.3, RFC 7636 4.6, RFC 9449 10). Raises Refused; the code is
        spent then."""
        code = self.codes.get(value)
        if code is None or code.used:
            raise Refused("code")
        code.used = True
        if code.expires_at <= self.now():
            raise Refused("code_expired")
        if redirect_uri != code.grant.redirect_uri:
            raise Refused("redirect_uri")
        if verifier:
            self.secrets.add(verifier)
        # Both are empty where no PKCE is used; one without the other is a downgrade (RFC 9700).
        if (code_challenge(verifier) if verifier else "") != code.challenge:
            raise Refused("verifier")
        if code.grant.thumbprint not in ("", thumbprint):
            raise Refused("proof")
        code.grant.thumbprint = thumbprint
        self.grants.append(code.grant)
        self._issue(code.grant)
        if not self.behaviour.omit_refresh_token:
            self._give_refresh_token(code.grant)
        return code.grant

    def issue_to(self, client: RegisteredClient, scopes: tuple[str, ...]) -> Grant:
        """A token for a client's own credentials; those that it got before stay good."""
        grant = Grant(client.subject, client.label, scopes, "")
        self._issue(grant)
        self.grants.append(grant)
        return grant

    def refresh(self, value: str, thumbprint: str = "") -> Grant:
        """Renew a grant by its refresh token. One that was rotated out before ends the grant
        (RFC 9700 4.14.2). Raises Refused."""
        found = self._owners.get(value)
        if found is None:
            raise Refused("refresh_token")
        if found.thumbprint not in ("", thumbprint):
            raise Refused("proof")
        found.thumbprint = thumbprint
        again = value == found.previous and self.now() < found.previous_until
        if value in found.spent and not (again and found.is_alive):
            self.reuses += found.is_alive
            found.revoke()
        if value != found.refresh_token and not (again and found.is_alive):
            raise Refused("refresh_token")
        if found.access_token is None:
            raise Refused("half_revoked")
        self._issue(found)
        if self.behaviour.rotates and not self.behaviour.omit_refresh_token:
            found.spent |= {value, found.refresh_token or value}
            if not again:
                found.previous = value
                found.previous_until = self.now() + self.behaviour.reuse_window
            self._give_refresh_token(found)
        return found

    def _issue(self, grant: Grant) -> None:
        # The access token of before is dead from now on, as at Badgr and BitBadges.
        grant.access_token = self.new_secret("access-token")
        grant.access_token_ends = self._end_of(self.behaviour.expires_in)
        self._owners[grant.access_token] = grant

    def _give_refresh_token(self, grant: Grant) -> None:
        grant.refresh_token = self.new_secret("refresh-token")
        grant.refresh_token_ends = self._end_of(self.behaviour.refresh_token_expires_in)
        self._owners[grant.refresh_token] = grant

    def add_token(self, grant: Grant, token: str) -> Grant:
        """Take a grant whose access token was made elsewhere."""
        grant.access_token = token
        self._owners[token] = grant
        self.grants.append(grant)
        return grant

    def by_access_token(self, value: str) -> Grant | None:
        grant = self._owners.get(value)
        return grant if grant is not None and grant.access_token == value else None

    def by_refresh_token(self, value: str) -> Grant | None:
        grant = self._owners.get(value)
        return grant if grant is not None and grant.refresh_token == value else None

    def expire_codes(self) -> None:
        for code in self.codes.values():
            code.expires_at = 0.0

    def expire_access_tokens(self) -> None:
        """Make the access tokens of all living grants unknown; refresh tokens stay good."""
        for grant in self.grants:
            if grant.access_token is not None:
                grant.access_token = self.new_secret("expired")
