"""What differs between the two providers and is a plain value. Imports nothing of Django."""

from dataclasses import dataclass

DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Dialect:
    """One provider: the names it uses and the times it allows."""

    name: str
    title: str
    client_id: str
    scopes: dict[str, str]
    """Scope to what it lets a site do, in a person's words."""
    default_scopes: tuple[str, ...]
    code_seconds: int
    refresh_seconds: tuple[int, int] | None = None
    """Life of a refresh token: the first one, and one that came by rotation. None: for ever."""

    @property
    def client_secret(self) -> str:
        return f"{self.client_id}-secret"


def scope_id(label: str) -> str:
    """Create Address Lists (the spelling of 2024) -> createAddressLists (that of 2025)."""
    first, *rest = label.split() or [""]
    return first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)


# badgr-server 3.14.1 has no r:issuer, the hosted service documents it (Canvas guide).
BADGR = Dialect(
    name="badgr",
    title="Sandbox Badgr",
    client_id="badgr-demo",
    scopes={
        "r:profile": "See your name and your e-mail addresses",
        "rw:profile": "See and change your name and your e-mail addresses",
        "r:backpack": "See the badges in your backpack",
        "rw:backpack": "See the badges in your backpack, add badges and remove them",
        "r:issuer": "See the issuers you work for and the badges they award",
        "rw:issuer": "Award badges and change badges for the issuers you work for",
    },
    default_scopes=("r:profile",),
    # badgr-server 3.14.1: 60 seconds for a code, and refresh tokens that never expire.
    code_seconds=60,
)

# The labels of 2024 (bitbadges-indexer, June 2024); scope_id() gives the ids of today.
BITBADGES_LABELS = {
    "Read Profile": "See the private part of your profile",
    "Complete Claims": "Complete claims in your name",
    "Read Address Lists": "See your private address lists",
    "Create Address Lists": "Create address lists in your name",
    "Manage Address Lists": "Create, change and delete your address lists",
    "Read Claim Alerts": "Read your claim alerts",
    "Send Claim Alerts": "Send claim alerts in your name",
    "Read Private Claim Data": "See the private data of your claims",
    "Manage Claims": "Create, change and delete your claims",
    "Read Authentication Codes": "See your authentication codes",
    "Delete Authentication Codes": "Delete your authentication codes",
    "Approve Sign In with BitBadges Requests": "Approve sign-in requests in your name",
    "Report": "Report content in your name",
}

BITBADGES = Dialect(
    name="bitbadges",
    title="Sandbox BitBadges",
    client_id="bitbadges-demo",
    scopes={scope_id(label): text for label, text in BITBADGES_LABELS.items()},
    # With no scope in the request the person chooses: all of them are offered.
    default_scopes=tuple(scope_id(label) for label in BITBADGES_LABELS),
    # bitbadges-indexer, July 2024: 10 minutes for a code, 30 days, then 60 days.
    code_seconds=600,
    refresh_seconds=(30 * DAY, 60 * DAY),
)

DIALECTS = {dialect.name: dialect for dialect in (BADGR, BITBADGES)}
