"""The table of the catalogue in the documentation, made from its files.

``python -m tests.providers.catalogue_page`` writes it into the page, after a file was changed.
"""

import re
from pathlib import Path

from django.utils.module_loading import import_string

from connected_accounts.conf import ProviderConfig
from connected_accounts.providers.badge_connect import BadgeConnect
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.base import Provider
from connected_accounts.providers.catalogue.services import Service, service, service_names
from connected_accounts.secret import Secret

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "reference/catalogue.md"
BETWEEN = re.compile(r"(?<=<!-- catalogue -->\n).*?(?=<!-- end -->)", re.DOTALL)
RENEWAL = {
    "rotates": "a new refresh token each time",
    "keeps": "the refresh token stays",
    "yes": "yes",
    "again": "asked for again",
    "none": "none",
}
REPOSITORIES = ("github.com", "codeberg.org")
UNITS = ((31536000, "year"), (86400, "day"), (3600, "hour"), (60, "minute"))


def in_words(seconds: int) -> str:
    """3600 -> 1 hour."""
    size, unit = next(one for one in UNITS if seconds >= one[0])
    count = round(seconds / size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def table() -> str:
    rows = [row(one) for name in service_names() if (one := service(name)) is not None]
    head = (
        "| Service | `SERVICE` | Refresh | Access token, refresh token live | Revocation | PKCE |"
    )
    head += " What is different there | Source |"
    return "\n".join(["", head, "| --- " * 8 + "|", *rows, "", ""])


def row(one: Service) -> str:
    hosts = {"hosts": ["one.example.org"]} if one.alias == "badge-connect" else {}
    config = ProviderConfig(
        *("one", one.backend, "id", Secret("")),
        *(None, (), {**one.options, **hosts}, False, None, None),
    )
    provider = import_string(one.backend)(config)
    code = provider.grant_type == "authorization_code"
    lives = [in_words(n) if n else "?" for n in (one.access_token_life, one.refresh_token_life)]
    cells = [
        one.name,
        f"`{one.alias}`",
        RENEWAL[one.refresh],
        ", ".join(lives).removesuffix(", ?") if one.access_token_life else "",
        revocation(provider),
        "S256" if code and provider.code_challenge_method else "",
        " ".join(one.quirks),
        ", ".join(shown(source) for source in one.sources) + f"; {one.checked}",
    ]
    return "| " + " | ".join(cells) + " |"


def revocation(provider: Provider) -> str:
    """How a grant ends at the service."""
    if isinstance(provider, BadgeConnect):
        return "by its refresh token, where the host takes it"
    if isinstance(provider, Badgr) or provider.known_endpoints().revocation_endpoint:
        return f"by its {provider.revoke_token_type_hint.replace('_', ' ')}"
    page = provider.manage_url
    if page and "{" not in page:
        return f"[by hand]({page})"
    return "by hand" if provider.grant_type == "authorization_code" else "none"


def shown(source: str) -> str:
    """A link under its host, or under its repository where it leads into one."""
    _, _, host, *path = source.split("/")
    name = "/".join(path[:2]) if host in REPOSITORIES else host.removeprefix("www.")
    return f"[{name}]({source})"


def with_table(text: str) -> str:
    """The page with its table made anew."""
    made = table()
    return BETWEEN.sub(lambda _: made, text)


def write() -> None:
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
