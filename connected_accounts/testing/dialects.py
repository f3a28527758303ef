"""Which way to speak stands for which backend."""

from typing import Final

from connected_accounts.providers.badge_connect import BadgeConnect
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.base import Provider
from connected_accounts.providers.bime import Bime
from connected_accounts.providers.bitbadges import BitBadges
from connected_accounts.providers.bits import Bits
from connected_accounts.providers.mcp import MCP
from connected_accounts.testing.badge_connect import BadgeConnectDialect
from connected_accounts.testing.badgr import BadgrDialect
from connected_accounts.testing.bime import BimeDialect
from connected_accounts.testing.bitbadges import BitBadgesDialect
from connected_accounts.testing.bits import BitsDialect
from connected_accounts.testing.catalogue import CatalogueDialect, recorded_answers
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.mcp import MCPDialect

DIALECTS: Final[tuple[tuple[type[Provider], type[Dialect]], ...]] = (
    (BadgeConnect, BadgeConnectDialect),
    (Badgr, BadgrDialect),
    (Bime, BimeDialect),
    (BitBadges, BitBadgesDialect),
    (Bits, BitsDialect),
    (MCP, MCPDialect),
    (Provider, Dialect),
)


def dialect_of(provider: Provider) -> type[Dialect]:
    """The dialect of a service of the catalogue, or of a backend; that of RFC 6749 for one that
    nobody here knows."""
    if provider.config.service and recorded_answers(provider.config.service) is not None:
        return CatalogueDialect
    return next(dialect for kind, dialect in DIALECTS if isinstance(provider, kind))
