"""An MCP server and its authorization server on one loopback port, whose documents a test writes.

What is asked is kept in ``requests``. Whatever stands in ``answers`` for a path is answered in
place of the usual: a status, a body and headers.
"""

import json
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

SPENT = ("code", "refresh_token", "assertion")
Body = dict[str, Any] | list[Any] | bytes | str | int | None


@dataclass
class Asked:
    """One request, with its body read as JSON or as a form."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Guarded:
    """The servers; ``scope`` stands in the challenge, ``needs`` are the scopes of a tool's call."""

    url: str = ""
    scope: str = "read"
    needs: tuple[str, ...] = ()
    secret_ends: int = 0
    resource: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, tuple[int, Body, dict[str, str]]] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    grants: dict[str, list[str]] = field(default_factory=dict)  # of tokens and codes
    clients: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)  # identity tokens that are good at /sign-in

    @property
    def server(self) -> str:
        return f"{self.url}/mcp"

    def begin(self, url: str) -> None:
        self.url = url
        self.resource = {"resource": self.server, "authorization_servers": [url]}
        self.metadata = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "registration_endpoint": f"{url}/register",
            "revocation_endpoint": f"{url}/revoke",
            "code_challenge_methods_supported": ["S256"],
        }

    def asked(self, path: str) -> list[Asked]:
        """The requests to one path."""
        return [one for one in self.requests if one.path == path]

    def answer(self, one: Asked) -> tuple[int, Body, dict[str, str]]:
        path = urlsplit(one.path).path
        if path in self.answers:
            return self.answers[path]
        usual = {
            "/.well-known/oauth-protected-resource/mcp": lambda: (200, self.resource, {}),
            "/.well-known/oauth-authorization-server": lambda: (200, self.metadata, {}),
            "/register": lambda: self._register(one),
            "/token": lambda: self._token(one),
            "/sign-in/token": lambda: self._assert(one),
            "/revoke": lambda: (200, {}, {}),
            "/mcp": lambda: self._speak(one),
        }
        return usual.get(path, lambda: (404, b"", {}))()

    def allow(self, url: str, *, scope: str | None = None) -> str:
        """The callback's URL after a yes, for ``scope`` or all that was asked for."""
        params = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = secrets.token_hex(8)
        self.grants[code] = (params.get("scope", "") if scope is None else scope).split()
        return f"{params['redirect_uri']}?{urlencode({'code': code, 'state': params['state']})}"

    def _register(self, one: Asked) -> tuple[int, Body, dict[str, str]]:
        self.clients.append(f"client-{secrets.token_hex(4)}")
        given = {"client_id": self.clients[-1], "client_secret": "secret-of-it"}
        return 201, one.body | given | {"client_secret_expires_at": self.secret_ends}, {}

    def _token(self, one: Asked) -> tuple[int, Body, dict[str, str]]:
        spent = next((one.body[n] for n in SPENT if n in one.body), "")
        if spent not in self.grants:
            return 400, {"error": "invalid_grant"}, {}
        scopes = self.grants.pop(str(spent))
        access, refresh = (secrets.token_hex(8) for _ in range(2))
        self.grants |= {access: scopes, refresh: scopes}
        told = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer"}
        return 200, told | {"expires_in": 3600, "scope": " ".join(scopes)}, {}

    def _assert(self, one: Asked) -> tuple[int, Body, dict[str, str]]:
        """An organisation's sign-in: an assertion for an identity token (RFC 8693)."""
        if one.body.get("subject_token") not in self.people:
            return 400, {"error": "invalid_grant"}, {}
        assertion = secrets.token_hex(8)
        self.grants[assertion] = str(one.body.get("scope", "")).split()
        told = {"issued_token_type": one.body["requested_token_type"], "token_type": "N_A"}
        return 200, {"access_token": assertion, **told}, {}

    def _speak(self, one: Asked) -> tuple[int, Body, dict[str, str]]:
        token = one.headers.get("Authorization", "").removeprefix("Bearer ")
        where = f'resource_metadata="{self.url}/.well-known/oauth-protected-resource/mcp"'
        if token not in self.grants:
            return 401, {}, {"WWW-Authenticate": f'Bearer scope="{self.scope}", {where}'}
        method = one.body.get("method")
        if method == "tools/call" and not set(self.needs) <= set(self.grants[token]):
            wanted = f'Bearer error="insufficient_scope", scope="{" ".join(self.needs)}", {where}'
            return 403, {}, {"WWW-Authenticate": wanted}
        about = {"serverInfo": {"name": "Notes of the house", "version": "1"}}
        return 200, {"jsonrpc": "2.0", "id": 1, "result": about}, {}


class _Handler(BaseHTTPRequestHandler):
    guarded: Guarded

    def _answer(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            body = json.loads(text or "{}")
        except ValueError:
            body = {name: values[0] for name, values in parse_qs(text).items()}
        one = Asked(self.command, self.path, dict(self.headers), body)
        self.guarded.requests.append(one)
        status, content, headers = self.guarded.answer(one)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = _answer  # the names that http.server calls

    def log_message(self, *args: Any) -> None:
        pass


def serve_guarded() -> tuple[Guarded, ThreadingHTTPServer]:
    """Start the servers; ``shutdown`` and ``server_close`` of the second end them."""
    guarded = Guarded()
    handler = type("Handler", (_Handler,), {"guarded": guarded})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    guarded.begin(f"http://127.0.0.1:{httpd.server_port}")
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    return guarded, httpd
