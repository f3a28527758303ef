"""A server on loopback that plays the provider, and each tool's own: it keeps what it is sent."""

import base64
import gzip
import json
import secrets
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLIENT_SECRET = f"site-{secrets.token_urlsafe(24)}"


class Collector(ThreadingHTTPServer):
    """``kept`` is what tools sent. ``secrets`` are by kind: ``token``, ``verifier``, ``posted``.
    ``answers`` are statuses and bodies that the token endpoint gives in place of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: list[bytes] = []
        self.secrets: dict[str, set[str]] = {"token": set(), "verifier": set()}
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.people: set[str] = set()  # the credentials that are accepted
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def new_token(self) -> str:
        token = f"tok-{secrets.token_urlsafe(24)}"
        self.secrets["token"].add(token)
        return token


class Handler(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(body)

    def answer(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        if path.endswith("/token"):
            return self.token(body)
        if path.endswith(("/me", "/userinfo")):
            return self.send(200, {"sub": "ada", "customerId": "ada", "email": "ada@site.example"})
        if path.endswith(("/revoke", "/data")):
            return self.send(200, {})
        self.server.kept.append(_plain(body, self.headers.get("Content-Encoding", "")))
        return self.send(200, {})

    def token(self, body: bytes) -> None:
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if verifier := fields.get("code_verifier"):
            self.server.secrets["verifier"].add(verifier)
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        person = base64.b64decode(pair).decode().partition(":")[2] if kind == "Basic" else ""
        if self.server.answers:
            return self.send(*self.server.answers.pop(0))
        if fields["grant_type"] == "client_credentials" and person not in self.server.people:
            return self.send(401, {"error": "invalid_client"})
        answer = {
            "access_token": self.server.new_token(),
            "refresh_token": self.server.new_token(),
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return self.send(200, answer)

    def send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body
