"""The recordings of the included providers, and what their tests take from the kit."""

from pathlib import Path
from typing import Any

from connected_accounts.testing import CANARY, Answer
from connected_accounts.testing.conformance.harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    OWN_CLIENT_ID,
    OWN_CLIENT_SECRET,
    PERSONAL_TOKEN,
    REDIRECT_URI,
    Harness,
    assert_hidden,
    leaks_in,
    read_recording,
    texts_of_record,
)

__all__ = [
    "API_KEY",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "OWN_CLIENT_ID",
    "OWN_CLIENT_SECRET",
    "PERSONAL_TOKEN",
    "RECORDINGS",
    "REDIRECT_URI",
    "Harness",
    "assert_hidden",
    "leaks_in",
    "recorded",
    "texts_of_record",
]

API_KEY = f"{CANARY}api-key"
RECORDINGS = Path(__file__).with_name("recordings")


def recorded(alias: str, name: str, **changes: Any) -> Answer:
    """A recorded answer of one of the included providers."""
    return read_recording(RECORDINGS / alias / f"{name}.json", **changes)
