"""The connections that the check makes: what to enter, and what to expect of each."""

from dataclasses import dataclass, field

CODE, FORM = "code", "form"


@dataclass
class Service:
    """An alias of the site, what its API page shows for ada, and her account there once connected.

    ``fields`` are entered on the site's own page before. ``renewed_by`` is the grant type that the
    sandbox counts when the token is renewed; empty: it never is. ``revokes``: the service ends a
    grant that is revoked; otherwise the site says that it must be removed there.
    """

    alias: str
    name: str
    shown: str
    sandbox: str = ""  # its name there, where that is another
    way: str = CODE
    fields: dict[str, str] = field(default_factory=dict)
    renewed_by: str = "refresh_token"
    revokes: bool = True
    account: str = ""
    connected_at: float = 0.0

    @property
    def pk(self) -> str:
        return self.account.rstrip("/").rpartition("/")[2]


def services(sandbox: str, mcp: str) -> list[Service]:
    """All of them. A personal token has to be made first: see the walkthrough."""
    own = {"client_id": "ada-bits", "client_secret": "ada-bits-secret"}
    host = {"host": f"{sandbox}/badgeconnect"}
    return [
        Service("badgr", "Badgr", "Wheelwright"),
        Service("bitbadges", "BitBadges", "Signed in as bb1"),
        Service("oidc", "OpenID", "sub"),
        Service(
            "bits",
            "Bits",
            "bits:application::",
            way=FORM,
            fields=own,
            renewed_by="client_credentials",
            revokes=False,
        ),
        Service("bime", "Bime", "Sales by region", fields={"account": "acme"}, revokes=False),
        Service(
            "bime-token",
            "Bime by token",
            "Sales by region",
            sandbox="bime",
            way=FORM,
            fields={"account": "globex"},
            renewed_by="",
            revokes=False,
        ),
        Service("mcp", "MCP", "Wheelwright", fields={"server": mcp}),
        Service("badges", "Badge Connect", "Lovelace", sandbox="badgeconnect", fields=host),
    ]
