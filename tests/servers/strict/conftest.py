"""Servers in Node that demand strong clients, each in a process of its own."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connected_accounts.oauth2 import jose
from tests.servers.listed import CALLBACK, INSTALLED, ROOT, SITE, free_port, wait_until_ready
from tests.servers.strict.installation import FOLDER
from tests.strong.certificates import Authority

SECRET = "a-plain-secret-of-40-letters-and-numbers"
GENERIC = "connected_accounts.providers.generic.OAuth2"


@dataclass
class Strict:
    """A running server; ``log`` has a line for each grant that it gave or refused."""

    url: str
    log: Path
    entry: dict[str, Any]  # of PROVIDERS
    authority: Authority | None = None

    def grants(self, kind: str, outcome: str = "given") -> int:
        return self.log.read_text().count(f"token {kind} {outcome}\n")


@contextmanager
def node(file: str, folder: Path, told: dict[str, Any]) -> Iterator[Path]:
    """Run a file of this folder, and stop it at the end; its log."""
    log = folder / f"{file}-{told['port']}.log"
    program = [str(INSTALLED / "node/node_modules/node/bin/node"), str(FOLDER / file)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, json.dumps(told)],
            env={
                **os.environ,
                "NODE_NO_WARNINGS": "1",
                "NODE_EXTRA_CA_CERTS": os.environ["REQUESTS_CA_BUNDLE"],
            },
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, log, told["url"])
        yield log
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the site and the person's browser trust."""
    made = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.file))
    return made


@pytest.fixture
def started(
    tmp_path: Path, authority: Authority, settings: Any, nothing_discovered: None
) -> Iterator[Callable[..., Strict]]:
    """``started("par", "dpop", **told)``: oidc-provider with these demands, which the site has as
    its provider ``stock``, with the means for them."""
    if "CONNECTED_ACCOUNTS_SERVERS" not in os.environ:
        pytest.skip("optional: make servers installs and starts real servers")
    with ExitStack() as servers:

        def start(*demands: str, **told: Any) -> Strict:
            port, key = free_port(), jose.new_key()
            scheme = "https" if "mtls" in demands else "http"
            url = f"{scheme}://127.0.0.1:{port}"
            public = {**key.public_jwk(), "kid": key.kid}
            client = {"id": "site", "secret": SECRET, "jwks": {"keys": [public]}}
            told = {"port": port, "url": url, "demands": demands, "client": client, **told}
            options: dict[str, Any] = {"issuer": url, "dpop": "dpop" in demands}
            entry = {"BACKEND": GENERIC, "CLIENT_ID": "site", "OPTIONS": options}
            if told.get("registers"):
                options["registration_endpoint"] = f"{url}/reg"
                del entry["CLIENT_ID"]
            if "private_key_jwt" in demands:
                entry["CLIENT_KEY"] = key.private_pem().reveal()
            elif "mtls" in demands:
                options["token_endpoint_auth_method"] = "tls_client_auth"
            else:
                entry["CLIENT_SECRET"] = SECRET
            if "mtls" in demands:
                server = str(authority.issue("server"))
                told["tls"] = {"key": server, "cert": server, "ca": str(authority.file)}
                entry["CLIENT_CERTIFICATE"] = str(authority.issue("site"))
            settings.CONNECTED_ACCOUNTS = {
                "REDIRECT_BASE_URL": SITE,
                "PROVIDERS": {"stock": entry},
            }
            told["redirect_uri"] = CALLBACK
            log = servers.enter_context(node("provider.mjs", tmp_path, told))
            return Strict(url, log, entry, authority)

        yield start
