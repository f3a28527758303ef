"""The lines that the page of Google Calendar counts are those that it shows, and they run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.doc_pages import page, table

PAGE = "auditors/side-by-side.md"
HEADINGS = {"this app": "This app"}


def programs() -> dict[str, str]:
    """The code under each heading."""
    ways = re.split(r"^## ", page(PAGE), flags=re.MULTILINE)[1:]
    blocks = re.compile(r"```python[^\n]*\n(.*?)```", re.DOTALL)
    return {way.splitlines()[0]: "\n".join(blocks.findall(way)) for way in ways}


def test_the_lines_of_each_way_are_counted() -> None:
    counted = {
        name: sum(1 for line in code.splitlines() if line.strip())
        for name, code in programs().items()
    }
    said = {row[""]: int(row["Lines"]) for row in table(PAGE, "Google Calendar, four ways")}
    assert {HEADINGS.get(name, name): lines for name, lines in said.items()} == counted
    assert min(counted, key=lambda name: counted[name]) == "This app"


@pytest.mark.parametrize(
    ("way", "crash"),
    [
        ("django-allauth", "HTTPError"),
        ("social-auth", "AuthCredentialError"),
        ("Authlib", "OAuthError"),
    ],
)
def test_each_program_shows_the_events_and_crashes_at_a_dead_grant(way: str, crash: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("calendar_program.py")), way]
    done = subprocess.run(command, input=programs()[way], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"status": 200, "refreshes": 1, "dead": crash}
