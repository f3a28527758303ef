"""What is supported: one answer from the page, the classifiers, tox, CI and the code."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
from django.core.management import call_command
from packaging.specifiers import SpecifierSet

from tests.docs.doc_pages import DOCS, ROOT, names, page, section, table, tables

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAIRS = {
    (row["Python"], django)
    for row in table("reference/compatibility.md", "What it runs on", 0)
    for django in row["Django"].split(", ")
}
PYTHONS = {python for python, _ in PAIRS}
DJANGOS = {django for _, django in PAIRS}


def classified(prefix: str) -> set[str]:
    found = (re.fullmatch(prefix + r" :: (\d+\.\d+)", line) for line in PROJECT["classifiers"])
    return {match[1] for match in found if match}


def tox_environments() -> set[str]:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    found = set()
    for line in parser["tox"]["env_list"].split():
        braces = re.search(r"\{(.+?)\}", line)
        choices = braces[1].split(",") if braces else [""]
        found |= {line.replace(braces[0], choice) if braces else line for choice in choices}
    return found


def pairs_of(prefix: str) -> set[tuple[str, str]]:
    found = (re.fullmatch(prefix + r"py3(\d+)-django(\d)(\d)", name) for name in tox_environments())
    return {(f"3.{match[1]}", f"{match[2]}.{match[3]}") for match in found if match}


def test_the_classifiers_are_those_of_the_page() -> None:
    assert classified("Programming Language :: Python") == PYTHONS
    assert classified("Framework :: Django") == DJANGOS


def test_tox_runs_the_suite_and_the_wheel_with_each_pair() -> None:
    assert pairs_of("") == PAIRS
    assert pairs_of("wheel-") == PAIRS


def test_each_pair_of_the_wheel_has_its_environment() -> None:
    (listed,) = re.findall(r"^\[testenv:wheel-\{(.+)\}\]$", (ROOT / "tox.ini").read_text(), re.M)
    pairs = re.findall(r"py3(\d+)-django(\d)(\d)", listed)
    assert {(f"3.{python}", f"{major}.{minor}") for python, major, minor in pairs} == PAIRS


def test_ci_runs_with_each_python() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert set(re.findall(r'"(3\.\d+)"', workflow)) == PYTHONS


def test_what_pip_allows_is_what_is_supported() -> None:
    python = SpecifierSet(PROJECT["requires-python"])
    assert all(f"{version}.99" in python for version in PYTHONS)
    assert f"3.{min(int(version[2:]) for version in PYTHONS) - 1}.99" not in python
    (django,) = [line for line in PROJECT["dependencies"] if line.startswith("django>")]
    allowed = SpecifierSet(django.removeprefix("django"))
    assert all(f"{version}.99" in allowed for version in DJANGOS)
    newest = max(DJANGOS)
    assert f"{newest[:-1]}{int(newest[-1]) + 1}" not in allowed


@pytest.mark.parametrize("path", [ROOT / "README.md", DOCS / "index.md"], ids=lambda p: p.name)
def test_other_pages_name_the_same_versions(path: Path) -> None:
    text = path.read_text("utf-8")
    assert f"Python {min(PYTHONS)} to {max(PYTHONS)}" in text.replace("\n", " ")
    assert min(DJANGOS) in text
    assert max(DJANGOS) in text


def test_the_databases_of_the_page_are_those_that_tox_tries() -> None:
    rows = table("reference/compatibility.md", "What it runs on", 1)
    tried = re.findall(r"posargs:(.+?)\}", (ROOT / "tox.ini").read_text("utf-8"))
    assert " ".join(row["Database"].lower() for row in rows) in tried


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


# Deprecation.


def test_a_name_that_is_being_retired_warns_and_is_announced() -> None:
    """The table is what the code warns of; today nothing is being retired."""
    rows = tables(section("reference/compatibility.md", "How a name is retired"))[0]
    announced = {name for row in rows for name in names(row["Retired"])}
    warned = {
        found
        for path in (ROOT / "connected_accounts").rglob("*.py")
        for found in re.findall(r"DeprecationWarning", path.read_text("utf-8"))
    }
    assert bool(announced) == bool(warned)


def test_a_retired_id_of_a_check_stays_reserved() -> None:
    retired = re.findall(r"`connected_accounts\.([EW]\d+)` \| retired", page("reference/checks.md"))
    code = "\n".join(p.read_text() for p in (ROOT / "connected_accounts").rglob("*.py"))
    assert retired
    assert [name for name in retired if f'"{name}"' in code] == []
