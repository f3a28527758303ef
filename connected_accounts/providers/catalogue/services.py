"""The catalogue: services by name, each a file of values in ``connected_accounts/catalogue``.

Read when a provider that settings name is used, and not before: neither on import nor at start-up.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.utils.translation import gettext_lazy

FOLDER: Final = Path(__file__).parents[2] / "catalogue"
GENERIC: Final = "connected_accounts.providers.generic.OAuth2"


@dataclass(frozen=True)
class Service:
    """One file. ``options`` are what a site would write into OPTIONS of ``backend``.

    ``sources`` say where the values were read, ``checked`` when. The two lives are seconds as the
    service's documentation tells them, or None; they are told to people and believed by nobody.
    """

    alias: str
    backend: str
    options: Mapping[str, Any]
    sources: tuple[str, ...]
    checked: date
    quirks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    access_token_life: int | None = None
    refresh_token_life: int | None = None
    # What a refresh gives: "rotates", "keeps" its token, or "none": there is no refresh.
    refresh: str = "none"

    @property
    def name(self) -> str:
        return str(self.options.get("name", self.alias))


def service_names() -> list[str]:
    """All names, in order. Opens no file."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def nearest(name: str) -> list[str]:
    """The names that somebody who wrote ``name`` may have meant, best first."""
    return get_close_matches(name.lower().replace("_", "-"), service_names(), n=3, cutoff=0.6)


@lru_cache
def service(name: str) -> Service | None:
    """The service of a name; None where the catalogue has none."""
    if name not in service_names():  # a name is not a path
        return None
    return read_service(FOLDER / f"{name}.toml")


def read_service(file: Path) -> Service:
    """Reads one file. Raises KeyError, TypeError or ValueError for one that is no service."""
    told = tomllib.loads(file.read_text(encoding="utf-8"))
    options = told.pop("options", {})
    words = told.pop("scopes", {})
    if words:
        # ``phrases`` has the same texts, for translation.
        options["scope_descriptions"] = {s: gettext_lazy(text) for s, text in words.items()}
    if "name" in told:
        options["name"] = told.pop("name")
    for key in ("sources", "quirks", "groups"):
        told[key] = tuple(told.get(key, ()))
    return Service(alias=file.stem, options=options, **{"backend": GENERIC} | told)
