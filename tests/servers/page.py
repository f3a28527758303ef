"""The page "What real servers do": every question put to every server, as tables."""

import json
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from tests.servers.bare_client import BareClient
from tests.servers.listed import INSTALLED, ROOT, Listed, running
from tests.servers.questions import grants, refusals, renewal

PAGE = ROOT / "docs/reference/real-servers.md"
AT_ONCE = 4
RAN_ON = re.compile(r"(?<=^Last run on )[\d-]+", re.MULTILINE)

Question = Callable[[BareClient], str]

# Each table: its heading, a sentence, and its columns.
TABLES: tuple[tuple[str, str, dict[str, Question]], ...] = (
    (
        "A refresh",
        "The app names no scope in a refresh unless told to.",
        {
            "What it leaves of the old pair": renewal.refresh_leaves,
            "Life told": renewal.life_told,
            "Scope: named, fewer": renewal.scope_in_a_refresh,
            "Scope beyond the grant": renewal.scope_beyond_the_grant,
        },
    ),
    (
        "The spent refresh token again",
        "As after an answer that was lost on its way.",
        {
            "At once": renewal.spent_at_once,
            "After 1 s": renewal.spent_after_1_s,
            "After 31 s": renewal.spent_after_31_s,
            "After the new one was used": renewal.spent_after_use,
            "Other grants of the person, after it": renewal.spent_and_others,
        },
    ),
    (
        "What ends what",
        "Of one person and one client; other grants are a second one from the same browser, and a "
        "third from another.",
        {
            "Refresh token revoked": grants.refresh_token_revoked,
            "Access token revoked": grants.access_token_revoked,
            "Refresh token revoked, hint": grants.revoked_without_a_hint,
            "Unknown token revoked": grants.unknown_token_revoked,
            "A second authorization": grants.second_authorization,
            "A code twice": grants.code_twice,
        },
    ),
    (
        "In which words",
        "Status and `error` of the token endpoint. Too many requests are refreshes without a pause "
        "against the limit that the server ships, if any.",
        {
            "A dead grant": refusals.dead_grant,
            "A wrong secret": refusals.wrong_secret,
            "An unknown client": refusals.unknown_client,
            "Too many requests": refusals.too_many,
            "The person says no": grants.refusal,
        },
    ),
    (
        "Client credentials",
        "Spellings of id and secret in HTTP Basic that are let in: `raw`, form encoding (`+` for a "
        "space), percent encoding (`%20`), and every character but letters and digits escaped.",
        {
            "Registered for": refusals.registered_for,
            "The right secret in another way": refusals.method_strict,
            "HTTP Basic takes": refusals.basic_encodings,
        },
    ),
)
FIRST = grants.refusal  # some ask nobody again who has agreed once
SLOW = renewal.spent_after_31_s
LAST = refusals.too_many

HEAD = """# What real servers do

Authorization servers that others wrote, as they come, each in a process of its own on loopback.
Every cell is the answer of a run, and none is written by hand: `make servers` installs the pinned
versions, asks, and writes this page. CI asks again, and fails when a cell is no longer so. What
surprises is bold.

Last run on {ran_on}.
"""
APP = """
## What the app does there

Each server is connected by the app's own pages, refreshed three times, refreshed by two processes
at once, ended there, reconnected and disconnected, and one answer to a refresh is lost on its way
(`tests/servers/test_life.py`). The settings are what a site writes besides `CLIENT_ID`,
`CLIENT_SECRET` and the `issuer` or the endpoints.
"""


def ask_all(entries: list[Listed]) -> dict[str, dict[str, str]]:
    """Server -> the name of each question -> the cell."""
    with ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(len(entries)) as waiting:
        slow = {entry.name: waiting.submit(_ask, entry, [SLOW]) for entry in entries}
        quick = {entry.name: pool.submit(_ask, entry, _quick(entry)) for entry in entries}
        limits = {
            entry.name: pool.submit(_ask, entry, [LAST], **entry.throttled)
            for entry in entries
            if entry.throttled
        }
        found: dict[str, dict[str, str]] = {entry.name: {} for entry in entries}
        for cells in (quick, slow, limits):
            for name, future in cells.items():
                found[name] |= future.result()
        return found


def _quick(entry: Listed) -> list[Question]:
    every = [question for _, _, columns in TABLES for question in columns.values()]
    apart = (SLOW, LAST) if entry.throttled else (SLOW,)
    return sorted((q for q in every if q not in apart), key=lambda q: (q is LAST) - (q is FIRST))


def _ask(entry: Listed, questions: list[Question], **extra: object) -> dict[str, str]:
    folder = tempfile.TemporaryDirectory()
    with folder, running(entry, Path(folder.name), **extra) as server:
        client = BareClient(server)
        return {_key(question): _cell(entry, client, question) for question in questions}


def _cell(entry: Listed, client: BareClient, question: Question) -> str:
    try:
        return question(client)
    except Exception as problem:
        raise RuntimeError(f"{entry.name}, {_key(question)}: {problem!r}") from problem


def _key(question: Question) -> str:
    return f"{question.__module__}.{question.__qualname__}"


def page(entries: list[Listed], cells: dict[str, dict[str, str]], ran_on: date) -> str:
    parts = [HEAD.format(ran_on=ran_on.isoformat())]
    for heading, sentence, columns in TABLES:
        rows = {
            entry.name: [cells[entry.name][_key(question)] for question in columns.values()]
            for entry in entries
        }
        table = _table(["Server", *columns], [[_named(e), *rows[e.name]] for e in entries])
        parts.append(f"\n## {heading}\n\n{sentence}\n\n{table}")
    rows_of_app = [[_named(e), _seen(e), _settings(e)] for e in entries]
    table = _table(["Server", "The app", "Settings, and why"], rows_of_app)
    return "".join(parts) + f"{APP}\n{table}"


def _named(entry: Listed) -> str:
    name, version = entry.software
    return f"{name} {version}" + (f", {entry.variant}" if entry.variant else "")


def _seen(entry: Listed) -> str:
    """What the tests of the app wrote down."""
    file = INSTALLED / "seen" / f"{entry.name}.json"
    seen = json.loads(file.read_text())
    return "; ".join(seen[key] for key in sorted(seen))


def _settings(entry: Listed) -> str:
    options = ", ".join(f"`{n}: {json.dumps(v)}`" for n, v in entry.options.items())
    scopes = f"`SCOPES: {json.dumps(list(entry.scopes))}`" if entry.scopes is not None else ""
    told = ", ".join(filter(None, [scopes, options])) or "none"
    return f"{told}. {entry.note}".strip() if entry.note else told


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def without_date(text: str) -> str:
    return RAN_ON.sub("…", text)
