"""An authorization server that verifies who asks: by assertion, certificate, proof and what was
pushed.

Over real HTTP, and TLS where it is given certificates. It verifies with PyJWT, which the app does
not use.
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Refused(Exception):
    """An answer of RFC 6749 5.2, with its status, and why for whoever reads the test."""

    def __init__(self, error: str, why: str, status: int = 400) -> None:
        super().__init__(f"{error}: {why}")
        self.error, self.status = error, status


class StrongServer:
    """``demands``: ``assertion``, ``certificate`` (at every endpoint), ``pushed``, and ``proof`` of
    the key that tokens are bound to, with ``nonce`` if there is one.

    ``keys`` gives the client's key set, as at its ``jwks_uri``."""

    client_id = "strong"

    def __init__(
        self,
        *demands: str,
        keys: Callable[[], dict[str, Any]] = lambda: {"keys": []},
        tls: Path | None = None,
        authority: Path | None = None,
        secret: str = "",
        audience: str = "issuer",
        **told: Any,
    ) -> None:
        self.demands, self.keys, self.secret, self.told = demands, keys, secret, told
        self.audience = audience
        self.calls: list[tuple[str, dict[str, str], str]] = []  # path, form, certificate
        self.refusals: list[str] = []
        self.assertions: list[dict[str, Any]] = []
        self.proofs: list[dict[str, Any]] = []
        self.signed: set[str] = set()  # every assertion and proof, as it came
        self.nonce = ""
        # Answers in place of the next ones; None: the connection breaks.
        self.script: list[tuple[int, dict[str, Any]] | None] = []
        self.always: dict[str, tuple[int, dict[str, Any]] | None] = {}  # by path
        self.registered: dict[str, Any] = {}
        self._seen: set[str] = set()
        self._pushed: dict[str, dict[str, str]] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, str] = {}  # to the certificate and key that they are bound to
        self.secrets: set[str] = set()  # every token and code that it gave
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_OPTIONAL
            self._http.socket = context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.issuer = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def end_access_tokens(self) -> None:
        self._tokens = {t: held for t, held in self._tokens.items() if not t.startswith("access")}

    def sent(self, path: str) -> list[dict[str, str]]:
        return [form for called, form, _ in self.calls if called == path]

    def metadata(self) -> dict[str, Any]:
        names = {"authorization": "authorize", "token": "token", "revocation": "revoke"}
        names |= {"userinfo": "me", "pushed_authorization_request": "par"}
        found = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in names.items()}
        found |= {"issuer": self.issuer, "code_challenge_methods_supported": ["S256"]}
        found |= {"require_pushed_authorization_requests": "pushed" in self.demands}
        return found | self.told

    def authorize(self, url: str) -> dict[str, str]:
        """What the browser comes back with, after the person said yes."""
        asked = dict(parse_qsl(urlsplit(url).query))
        if "pushed" in self.demands:
            assert asked.keys() == {"client_id", "request_uri"}, asked
        if "request_uri" in asked:
            asked = self._pushed.pop(asked["request_uri"])
        code = self._new_secret("code")
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    # What is verified.

    def _client(self, form: dict[str, str], certificate: str) -> None:
        if form.get("client_id") != self.client_id:
            raise Refused("invalid_client", "it does not name itself", 401)
        if "certificate" in self.demands and not certificate:
            raise Refused("invalid_client", "no certificate", 401)
        if self.secret and form.get("client_secret") != self.secret:
            raise Refused("invalid_client", "another secret", 401)
        if "assertion" in self.demands:
            try:
                self._assertion(form)
            except (jwt.InvalidTokenError, KeyError, AssertionError) as error:
                raise Refused("invalid_client", repr(error), 401) from None

    def _assertion(self, form: dict[str, str]) -> None:
        assert form["client_assertion_type"] == ASSERTION_TYPE
        signed = form["client_assertion"]
        self.signed.add(signed)
        kid = jwt.get_unverified_header(signed)["kid"]
        key = next((k for k in self.keys()["keys"] if k["kid"] == kid), None)
        assert key is not None, f"unknown kid {kid}"
        algorithm = jwt.get_unverified_header(signed)["alg"]
        assert algorithm in self.told.get(
            "token_endpoint_auth_signing_alg_values_supported", [algorithm]
        )
        public = jwt.PyJWK(key, algorithm=algorithm)
        audience = self.issuer if self.audience == "issuer" else f"{self.issuer}/token"
        needed = ["iss", "sub", "aud", "jti", "exp", "iat"]
        claims = jwt.decode(
            signed,
            public,
            algorithms=[algorithm],
            audience=audience,
            options={"require": needed, "strict_aud": True},
        )
        assert claims["iss"] == claims["sub"] == self.client_id
        assert claims["exp"] - time.time() <= 61
        self._refuse_replay(claims["jti"])
        self.assertions.append({**jwt.get_unverified_header(signed), **claims})

    def _refuse_replay(self, jti: str) -> None:
        with self._lock:
            assert jti not in self._seen, "it was sent twice"
            self._seen.add(jti)

    def _thumbprint(self, method: str, path: str, headers: Mapping[str, str], token: str) -> str:
        """Of the key that the proof of a request shows (RFC 9449 4.3)."""
        proof, status = headers.get("DPoP", ""), 401 if token else 400
        try:
            head = jwt.get_unverified_header(proof)
            assert head["typ"] == "dpop+jwt"
            self.signed.add(proof)
            required = ["jti", "iat", "htm", "htu", *(["ath"] if token else [])]
            claims = jwt.decode(
                proof,
                jwt.PyJWK(head["jwk"], algorithm="ES256"),
                algorithms=["ES256"],
                options={"require": required},
            )
            assert (claims["htm"], claims["htu"]) == (method, f"{self.issuer}{path}")
            assert abs(time.time() - claims["iat"]) < 60
            assert not token or claims["ath"] == _digest(token)
            self._refuse_replay(claims["jti"])
        except (jwt.InvalidTokenError, KeyError, AssertionError) as error:
            raise Refused("invalid_dpop_proof", repr(error), status) from None
        self.proofs.append(claims)
        if claims.get("nonce", "") != self.nonce:
            raise Refused("use_dpop_nonce", "another nonce", status)
        public = {name: head["jwk"][name] for name in ("crv", "kty", "x", "y")}
        return _digest(json.dumps(public, separators=(",", ":")))

    # What is answered.

    def answer(
        self, method: str, path: str, form: dict[str, str], certificate: str, headers: Any
    ) -> tuple[int, Any] | None:
        if path == "/.well-known/oauth-authorization-server":
            return 200, self.metadata()
        if path == "/authorize":
            return 400, {}
        if path == "/register":
            return self._register(form)
        if path not in ("/par", "/token", "/revoke", "/me"):
            return 404, {}
        self.calls.append((path, form, certificate))
        if self.script:
            return self.script.pop(0)
        if path in self.always:
            return self.always[path]
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        proved = "proof" in self.demands and path in ("/token", "/me")
        holder = certificate + (self._thumbprint(method, path, headers, token) if proved else "")
        if path == "/me":
            bound = self._tokens.get(token) if scheme == self._token_type else None
            return (200, {"sub": "ada"}) if bound == holder else (401, {"error": "invalid_token"})
        self._client(form, certificate)
        with self._lock:
            return self._act(path, form, holder)

    def _register(self, metadata: dict[str, Any]) -> tuple[int, Any]:
        """RFC 7591: the keys come with it, or from the address that it names."""
        self.registered = metadata
        if "jwks" in metadata:
            self.keys = lambda: metadata["jwks"]
        return 201, metadata | {"client_id": self.client_id}

    @property
    def _token_type(self) -> str:
        return "DPoP" if "proof" in self.demands else "Bearer"

    def _new_secret(self, kind: str) -> str:
        made = f"{kind}-{secrets.token_urlsafe(16)}"
        self.secrets.add(made)
        return made

    def _act(self, path: str, form: dict[str, str], holder: str) -> tuple[int, Any]:
        if path == "/par":
            uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(8)}"
            self._pushed[uri] = form
            return 201, {"request_uri": uri, "expires_in": 60}
        if path == "/revoke":
            self._tokens.pop(form["token"], None)
            return 200, {}
        if form["grant_type"] == "authorization_code":
            if form["code"] not in self._codes:
                raise Refused("invalid_grant", "unknown code")
            asked = self._codes.pop(form["code"])
            assert _digest(form["code_verifier"]) == asked["code_challenge"]
        spent = form.get("refresh_token", "")
        if spent and self._tokens.pop(spent, None) != holder:
            raise Refused("invalid_grant", "unknown, or bound to another certificate or key")
        access, refresh = self._new_secret("access"), self._new_secret("refresh")
        self._tokens |= {access: holder, refresh: holder}
        token = {"access_token": access, "token_type": self._token_type, "expires_in": 3600}
        return 200, token | {"refresh_token": refresh}

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if "json" in self.headers.get("Content-Type", ""):
                    form = json.loads(body)
                else:
                    form = {name: one[0] for name, one in parse_qs(body.decode()).items()}
                path = urlsplit(self.path).path
                try:
                    said = server.answer(self.command, path, form, self.certificate(), self.headers)
                except Refused as error:
                    server.refusals.append(str(error))
                    said = error.status, {"error": error.error}
                if said is None:
                    self.close_connection = True
                    return
                content = json.dumps(said[1]).encode()
                self.send_response(said[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                if server.nonce:
                    self.send_header("DPoP-Nonce", server.nonce)
                if said[0] == 401:
                    challenge = f'{server._token_type} error="{said[1].get("error", "")}"'
                    self.send_header("WWW-Authenticate", challenge)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def certificate(self) -> str:
                """The thumbprint of the client's (RFC 8705 3.1)."""
                found = None
                with suppress(AttributeError):
                    found = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
                return hashlib.sha256(found).hexdigest() if found else ""

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
