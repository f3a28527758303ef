"""What differs between the providers and is a plain value. Imports nothing of Django."""

from dataclasses import dataclass

DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Dialect:
    """One provider: the names it uses and the times it allows."""

    name: str
    title: str
    client_id: str
    """Of the client site; empty where sites register themselves."""
    scopes: dict[str, str]
    """Scope to what it lets a site do, in a person's words."""
    default_scopes: tuple[str, ...]
    code_seconds: int
    access_seconds: int = 60
    """Short by default, so that a refresh can be watched: Badgr and BitBadges say 86400."""
    refresh_seconds: tuple[int, int] | None = None
    """Life of a refresh token: the first one, and one that came by rotation. None: for ever."""
    rotates: bool = True
    """Whether a refresh gives a new refresh token; if not, its answer holds none at all."""
    requires_pkce: bool = False
    tells_issuer: bool = False
    """Whether the callback carries ``iss`` (RFC 9207)."""
    grant: str = "authorization-code"
    """What the toolkit lets the client site use."""
    algorithm: str = ""
    """With which an id_token is signed."""

    @property
    def client_secret(self) -> str:
        return f"{self.client_id}-secret"


def scope_id(label: str) -> str:
    """Create Address Lists (the spelling of 2024) -> createAddressLists (that of 2025)."""
    first, *rest = label.replace("-", " ").split() or [""]
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
    "Reviews": "Write, change and delete reviews in your name",
    "Update Address Lists": "Change your address lists",
    "Delete Address Lists": "Delete your address lists",
    "Read Attestations": "See your attestations",
    "Create Attestations": "Create attestations in your name",
    "Update Attestations": "Change your attestations",
    "Delete Attestations": "Delete your attestations",
    "Manage Off-Chain Balances": "Manage your off-chain balances",
    # Of today only (bitbadgespy-sdk 0.1.88).
    "Manage Applications": "Manage your applications",
    "Manage Developer Apps": "Manage your developer apps",
    "Manage Dynamic Stores": "Manage your dynamic stores",
    "Manage Utility Pages": "Manage your utility pages",
    "Embedded Wallet": "Sign transactions in your name, without asking you again",
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

# docs.bits.bi; that several scopes are parted by a space is a guess, one is all that is shown.
BITS = Dialect(
    name="bits",
    title="Sandbox Bits",
    client_id="bits-demo",
    scopes={
        "application": "Create applications and read their data",
        "application.read": "Read the data of applications",
        "application.session": "Lead one person through one application",
    },
    default_scopes=("application",),
    code_seconds=0,
    access_seconds=3600,
    grant="client-credentials",
)

# Bime knows no scopes. To the toolkit the account is the scope, and so a token keeps to it.
BIME = Dialect(
    name="bime",
    title="Sandbox Bime",
    client_id="bime-demo",
    scopes={
        "acme": "See and use the dashboards of acme",
        "globex": "See and use the dashboards of globex",
    },
    default_scopes=(),
    # Doorkeeper's time for a code; that Bime ran on Doorkeeper is inferred.
    code_seconds=600,
    access_seconds=7200,
)

OB2 = "https://purl.imsglobal.org/spec/ob/v2p1/scope/"
OB3 = "https://purl.imsglobal.org/spec/ob/v3p0/scope/"
OFFLINE = {"offline_access": "Stay connected while you are away"}

# badgr-server 3.14.1, observed 2026: it offers these three, and refuses offline_access.
BADGE_CONNECT_BADGR = Dialect(
    name="badgeconnect-badgr",
    title="Sandbox Badge Connect at Badgr",
    client_id="",
    scopes={
        f"{OB2}assertion.readonly": "See the badges in your backpack",
        f"{OB2}assertion.create": "Add badges to your backpack",
        f"{OB2}profile.readonly": "See your name and your e-mail address",
    },
    default_scopes=(),
    code_seconds=60,
    access_seconds=3600,
    requires_pkce=True,
)

BADGE_CONNECT = Dialect(
    name="badgeconnect",
    title="Sandbox Badge Connect",
    client_id="",
    scopes=BADGE_CONNECT_BADGR.scopes
    | {f"{OB2}profile.update": "Change your name and your e-mail address"}
    | OFFLINE,
    default_scopes=(),
    code_seconds=600,
    access_seconds=3600,
    requires_pkce=True,
)

BADGE_CONNECT_3 = Dialect(
    name="badgeconnect3",
    title="Sandbox Open Badges 3.0",
    client_id="",
    scopes={
        f"{OB3}credential.readonly": "See your credentials",
        f"{OB3}credential.upsert": "Add credentials and change them",
        f"{OB3}profile.readonly": "See your name and your e-mail address",
        f"{OB3}profile.update": "Change your name and your e-mail address",
    }
    | OFFLINE,
    default_scopes=(),
    # The Open Badges 3.0 specification recommends 600 seconds and 3600.
    code_seconds=600,
    access_seconds=3600,
    # Open Badges 3.0 leaves it to the host whether a refresh gives a new refresh token.
    rotates=False,
    requires_pkce=True,
)

OIDC = Dialect(
    name="oidc",
    title="Sandbox OpenID provider",
    client_id="oidc-demo",
    scopes={
        "openid": "Know who you are",
        "profile": "See your name",
        "email": "See your e-mail address",
    },
    default_scopes=("openid",),
    code_seconds=60,
    access_seconds=3600,
    requires_pkce=True,
    tells_issuer=True,
    algorithm="RS256",
)

# docs.github.com, OAuth apps, 2026: 10 minutes for a code; a token lives until it is taken back.
GITHUB = Dialect(
    name="github",
    title="Sandbox GitHub",
    client_id="github-demo",
    scopes={
        "read:user": "See your profile",
        "repo": "See and change your repositories",
        "gist": "Create gists",
    },
    default_scopes=(),
    code_seconds=600,
    access_seconds=10 * 365 * DAY,
)

# The authorization server in front of the MCP server of mcp_server.py.
MCP = Dialect(
    name="mcp",
    title="Sandbox MCP server",
    client_id="",
    scopes={"badges:read": "See your badges"},
    default_scopes=("badges:read",),
    code_seconds=60,
    access_seconds=3600,
    requires_pkce=True,
)

DIALECTS = {
    dialect.name: dialect
    for dialect in (
        BADGR,
        BITBADGES,
        BITS,
        BIME,
        BADGE_CONNECT,
        BADGE_CONNECT_BADGR,
        BADGE_CONNECT_3,
        OIDC,
        GITHUB,
        MCP,
    )
}
