"""Keys from the environment, a file or a KMS, as the documentation shows it."""

import base64
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from connected_accounts.sealing import encryption_keys, seal, unseal
from tests.docs.doc_pages import DOCS, code_blocks

KEYS = [Fernet.generate_key().decode(), Fernet.generate_key().decode()]


def example(mark: str) -> str:
    blocks = code_blocks(DOCS / "how-to" / "keys.md", "python")
    [found] = [block for block in blocks if mark in block]
    return found


def assert_they_seal_and_open(source: str) -> None:
    settings: dict[str, Any] = {}
    exec(source, settings)
    with override_settings(FIELD_ENCRYPTION_KEY=[KEYS[1]]):
        old = seal("sealed with the old key", purpose="p", bound_to=1)
    with override_settings(FIELD_ENCRYPTION_KEY=settings["FIELD_ENCRYPTION_KEY"]):
        assert encryption_keys() == tuple(KEYS)
        assert unseal(old, purpose="p", bound_to=1) == "sealed with the old key"


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", ",".join(KEYS))
    assert_they_seal_and_open(example('["FIELD_ENCRYPTION_KEY"].split'))


def test_keys_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n".join(KEYS) + "\n")
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    assert_they_seal_and_open(example("FIELD_ENCRYPTION_KEY_FILE"))


class FakeKms:
    """What the example asks of the service's client: it opens what it sealed, bounded in time."""

    master = Fernet(Fernet.generate_key())
    is_away = False

    def __init__(self, config: Any) -> None:
        assert 0 < config["connect_timeout"] + config["read_timeout"] < 10

    def decrypt(self, CiphertextBlob: bytes) -> dict[str, bytes]:  # the service's name
        if self.is_away:
            raise ConnectionError("the service is away")
        return {"Plaintext": self.master.decrypt(CiphertextBlob)}


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeKms]:
    boto3, botocore, config = (ModuleType(n) for n in ("boto3", "botocore", "botocore.config"))
    vars(boto3)["client"] = lambda service, config: {"kms": FakeKms}[service](config)
    vars(config)["Config"] = dict
    for module in (boto3, botocore, config):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    sealed = [base64.b64encode(FakeKms.master.encrypt(key.encode())).decode() for key in KEYS]
    (tmp_path / "sealed").write_text("\n".join(sealed))
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS_SEALED", str(tmp_path / "sealed"))
    return FakeKms


def test_keys_from_a_kms(kms: type[FakeKms]) -> None:
    assert_they_seal_and_open(example("boto3"))


def test_a_kms_that_is_away_stops_the_start(
    kms: type[FakeKms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kms, "is_away", True)
    with pytest.raises(ConnectionError):
        exec(example("boto3"), {})
