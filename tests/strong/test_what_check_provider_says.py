"""Before anybody connects: what a server demands, and whether settings have it."""

from pathlib import Path
from typing import Any

import pytest

from connected_accounts.oauth2 import discovery, jose
from connected_accounts.operations.doctor.diagnosis import diagnose
from tests.strong.certificates import Authority
from tests.strong.conftest import Use, site_keys
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db

CALLBACK = "https://testserver/connections/bank/callback/"
METHODS = "token_endpoint_auth_methods_supported"
SIGNING = "token_endpoint_auth_signing_alg_values_supported"


def said() -> dict[str, list[tuple[str, str]]]:
    """Level and words of each check."""
    discovery.clear_cache()
    found: dict[str, list[tuple[str, str]]] = {}
    for one in diagnose("bank", redirect_uri=CALLBACK):
        found.setdefault(one.check, []).append((one.level.value, f"{one.message} {one.hint}"))
    return found


def key(algorithm: str = "ES256") -> str:
    return jose.new_key(algorithm).private_pem().reveal()


def test_a_site_that_has_all_that_is_demanded_reads_so(use: Use) -> None:
    told = {METHODS: ["private_key_jwt"], SIGNING: ["PS256", "ES256"]}
    with StrongServer("assertion", "pushed", keys=site_keys, **told) as server:
        use(server, CLIENT_KEY=key())
        found = said()
    assert not [one for ones in found.values() for one in ones if one[0] == "error"], found
    assert "signs with ES256" in found["client"][0][1]
    assert found["client"][0][0] == "ok"
    assert found["pushed_request"][0][0] == "ok"
    assert found["credentials"][0][0] == "ok"
    assert [path for path, _, _ in server.calls if path == "/par"] == ["/par"]


@pytest.mark.parametrize(
    ("told", "entry", "options", "words"),
    [
        ({METHODS: ["private_key_jwt"]}, {"CLIENT_SECRET": "s"}, {}, "Write CLIENT_KEY"),
        ({METHODS: ["tls_client_auth"]}, {"CLIENT_SECRET": "s"}, {}, "Write CLIENT_CERTIFICATE"),
        (
            {METHODS: ["private_key_jwt"], SIGNING: ["PS256"]},
            {"CLIENT_KEY": key()},
            {},
            "The server takes PS256",
        ),
        (
            {"require_pushed_authorization_requests": True},
            {},
            {"require_pushed_authorization_requests": False},
            "switched off",
        ),
        (
            {
                "require_pushed_authorization_requests": True,
                "pushed_authorization_request_endpoint": "",
            },
            {},
            {},
            "names no pushed_authorization_request_endpoint",
        ),
        ({"require_signed_request_object": True}, {}, {}, "RFC 9101"),
    ],
)
def test_what_is_demanded_and_not_there_is_an_error_that_says_what_to_write(
    use: Use, told: Any, entry: Any, options: Any, words: str
) -> None:
    with StrongServer(**told) as server:
        public = {} if entry else {"token_endpoint_auth_method": "none"}
        use(server, public | options, **entry)
        errors = [text for level, text in said()["metadata"] if level == "error"]
    assert any(words in text for text in errors), errors


def test_dpop_is_told_of_as_far_as_a_server_tells(use: Use) -> None:
    public = {"token_endpoint_auth_method": "none"}
    with StrongServer(dpop_signing_alg_values_supported=["ES256"]) as server:
        use(server, public)
        assert '"dpop": True' in said()["metadata"][0][1]
        use(server, public | {"dpop": True})
        assert said()["metadata"][0][0] == "ok"
        server.told["dpop_signing_alg_values_supported"] = ["PS256"]
        level, text = said()["metadata"][0]
        assert (level, "by PS256" in text) == ("error", True)


def test_a_refused_push_says_what_the_server_said(use: Use) -> None:
    with StrongServer("pushed") as server:
        use(server, {"token_endpoint_auth_method": "none"})
        server.always["/par"] = (400, {"error": "invalid_redirect_uri"})
        level, text = said()["pushed_request"][0]
    assert level == "error"
    assert "invalid_redirect_uri" in text
    assert CALLBACK in text


def test_a_key_that_the_server_does_not_know_is_refused_credentials(use: Use) -> None:
    with StrongServer("assertion", "pushed") as server:
        use(server, CLIENT_KEY=key())
        found = said()
    assert found["pushed_request"][0][0] == "error"
    assert found["credentials"][0][0] == "error"
    assert "/connections/jwks/" in found["credentials"][0][1]


def test_what_a_server_can_bind_tokens_to_is_told(
    use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"tls_client_certificate_bound_access_tokens": True}
    with StrongServer(**told) as server:
        use(server, {"token_endpoint_auth_method": "none"})
        assert "CLIENT_CERTIFICATE" in said()["metadata"][0][1]
        use(
            server,
            {"token_endpoint_auth_method": "none"},
            CLIENT_CERTIFICATE=str(Authority(tmp_path).issue("site")),
        )
        assert "CLIENT_CERTIFICATE" not in said()["metadata"][0][1]
