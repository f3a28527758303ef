"""Keys that sign: what is read, what is refused and why, and what is signed. Judged by PyJWT, which
the app does not use."""

import base64
import hashlib
import json
import pickle
import subprocess
import sys
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2 import jose
from connected_accounts.providers import options
from connected_accounts.secret import Secret

CLAIMS = {"iss": "client", "exp": 4_000_000_000}
NAMES = {"Ed25519": "EdDSA"}  # PyJWT knows one of the two


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> Secret:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return Secret(key.private_bytes(Encoding.PEM, form, how).decode())


@pytest.mark.parametrize("algorithm", jose.ALGORITHMS)
def test_what_is_signed_is_verified_with_the_published_half(algorithm: str) -> None:
    key = jose.new_key(algorithm)
    signed = key.sign(CLAIMS, algorithm=algorithm, header={"kid": key.kid, "typ": "JWT"})
    header = pyjwt.get_unverified_header(signed)
    assert header == {"alg": algorithm, "kid": key.thumbprint, "typ": "JWT"}
    public = pyjwt.PyJWK(key.public_jwk(), algorithm=NAMES.get(algorithm, algorithm))
    if algorithm != "Ed25519":
        assert pyjwt.decode(signed, public, algorithms=[algorithm]) == CLAIMS
    other = pyjwt.PyJWK(jose.new_key(algorithm).public_jwk(), algorithm=public.algorithm_name)
    with pytest.raises(pyjwt.InvalidTokenError):
        pyjwt.decode(signed, other, algorithms=[algorithm])


@pytest.mark.parametrize(
    ("native", "form", "algorithms"),
    [
        (ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8, ("ES256",)),
        (ec.generate_private_key(ec.SECP384R1()), PrivateFormat.TraditionalOpenSSL, ("ES384",)),
        (
            rsa.generate_private_key(65537, 2048),
            PrivateFormat.TraditionalOpenSSL,
            ("PS256", "RS256", "RS384"),
        ),
        (ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8, ("EdDSA", "Ed25519")),
    ],
)
def test_a_key_is_read_from_pem_and_from_the_jwk_of_the_same(
    native: Any, form: PrivateFormat, algorithms: tuple[str, ...]
) -> None:
    key = jose.signing_key(pem(native, form))
    assert key.algorithms == algorithms
    again = jose.signing_key(key.private_jwk())
    assert again.public_jwk() == key.public_jwk()
    assert again.thumbprint == key.thumbprint == again.kid
    assert jose.signing_key(key.private_pem()).thumbprint == key.thumbprint


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    key = jose.new_key("ES256")
    public = key.public_jwk()
    members = json.dumps({n: public[n] for n in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    digest = hashlib.sha256(members.encode()).digest()
    assert key.thumbprint == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_jwk_may_name_its_kid_and_its_algorithm() -> None:
    jwk = json.loads(jose.new_key("RS256").private_jwk().reveal())
    key = jose.signing_key(Secret(json.dumps(jwk | {"kid": "mine", "alg": "RS256"})))
    assert (key.kid, key.algorithms) == ("mine", ("RS256",))
    with pytest.raises(ConfigurationError, match="not PS256"):
        key.sign(CLAIMS, algorithm="PS256")


def spki(key: Any) -> Secret:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Secret(public.decode())


EC = ec.generate_private_key(ec.SECP256R1())
BAD: list[tuple[Secret, str]] = [
    (Secret(""), "has no private key"),
    (Secret("/run/secrets/key.pem"), "has no private key"),
    (spki(EC), "has no private key"),
    (pem(EC, password=b"pass"), "without a password"),
    (Secret(pem(EC).reveal().replace("\n", "\\n")), "neither a private key in PEM"),
    (pem(rsa.generate_private_key(65537, 1024)), "1024 bits is too short"),
    (pem(ec.generate_private_key(ec.SECP521R1())), "curve P-521"),
    (Secret('{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}'), "shared secret"),
    (Secret('{"kty": "EC"}'), "neither a private key in PEM"),
    (Secret("{nothing"), "neither a private key in PEM"),
    (Secret(json.dumps(jose.new_key().public_jwk())), "public key"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_bad_key_is_refused_with_what_is_wrong_and_nothing_of_it(text: Secret, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        jose.signing_key(text)
    assert caught.value.code == "client_key"
    assert "make_client_key" in str(caught.value)
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert not any(len(line) > 20 and line in shown for line in text.reveal().splitlines())


def test_an_algorithm_is_chosen_that_the_server_takes() -> None:
    key = jose.new_key("PS256")
    assert jose.algorithm_for(key) == "PS256"
    assert jose.algorithm_for(key, supported=("ES256", "RS256")) == "RS256"
    assert jose.algorithm_for(key, "RS384", supported=("ES256",)) == "RS384"
    with pytest.raises(ConfigurationError, match="The server takes ES256"):
        jose.algorithm_for(key, supported=("ES256",))


def test_settings_take_the_algorithms_that_keys_have() -> None:
    assert sorted(options.SIGNING_ALGORITHMS) == sorted(jose.ALGORITHMS)


def test_a_key_shows_itself_nowhere() -> None:
    key = jose.new_key()
    private = json.loads(key.private_jwk().reveal())["d"]
    assert private not in repr(key) + str(key.public_jwk()) + repr(vars(jose))
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(key)


def test_the_app_and_a_refresh_of_a_bearer_do_not_load_the_library() -> None:
    code = """
import sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    FIELD_ENCRYPTION_KEY=["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="],
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
        "connected_accounts",
    ],
    ROOT_URLCONF="connected_accounts.urls",
    CONNECTED_ACCOUNTS={"PROVIDERS": {"badgr": {
        "BACKEND": "connected_accounts.providers.badgr.Badgr", "CLIENT_ID": "x",
        "CLIENT_SECRET": "y", "OPTIONS": {"region": "eu"},
    }}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from connected_accounts.services import refresh
from connected_accounts.testing import FakeProvider, connect_account
with FakeProvider("badgr") as fake:
    account = connect_account(fake, User.objects.create_user("ada"))
    refresh(account)
    assert len(fake.sent_to("token")) == 2, fake.requests
print([m for m in ("joserfc", "jwt", "jwcrypto") if m in sys.modules])
"""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
