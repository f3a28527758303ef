"""How each provider names a person. Derived from the user name, so it never changes."""

import hashlib
import uuid
from typing import Any

from django.contrib.auth.models import AbstractUser

BECH32_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def digest(purpose: str, user: AbstractUser) -> bytes:
    return digest_of_name(purpose, user.get_username())


def digest_of_name(purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}:{name}".encode()).digest()


def badgr_entity_id(user: AbstractUser) -> str:
    """22 letters and digits, like "tr9s…"."""
    return digest("badgr", user).hex()[:22]


def ethereum_address(user: AbstractUser) -> str:
    return "0x" + digest("ethereum", user).hex()[:40]


def bech32_address(prefix: str, user: AbstractUser) -> str:
    """Looks like "bb1…" or "cosmos1…"; carries no valid checksum."""
    letters = [BECH32_LETTERS[byte % 32] for byte in digest("bech32", user) + digest("more", user)]
    return f"{prefix}1{''.join(letters[:38])}"


def bitbadges_identity(user: AbstractUser) -> dict[str, Any]:
    return {
        "address": ethereum_address(user),
        "chain": "Ethereum",
        "bitbadgesAddress": bech32_address("bb", user),
    }


def bits_customer_id(application: Any) -> str:
    """Of whoever made the credentials: a person, or the site."""
    owner = application.user.get_username() if application.user else application.client_id
    return f"bits:customer::{uuid.UUID(bytes=digest_of_name('bits', owner)[:16], version=4)}"
