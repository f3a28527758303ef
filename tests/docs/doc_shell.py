"""Whether a command line of the documentation would be taken by the program it names.

What is ours, Django's, Celery's or pip's is given to the real parser. Other programs are known by
name only: ``OTHERS`` is the whole list.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import click
from celery.bin.base import CLIContext
from celery.bin.celery import celery
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from waitress.adjustments import Adjustments

from example_project.celery import app
from tests.docs.doc_pages import ROOT

OTHERS = {
    "cd /srv/yoursite",
    "sudo systemctl",
    "sudo journalctl",
    "sudo -u postgres createdb",
    "sudo -u postgres createuser",
    "docker compose",
    "pg_isready",
    "redis-cli",
    "redis-server",
}


def lines(text: str) -> Iterator[list[str]]:
    """The commands in a text, as words; a comment, and what is after ``|`` or ``&&``, apart."""
    for line in text.replace("\\\n", " ").splitlines():
        command: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word not in ("&&", "|", ";"):
                command.append(word)
            elif command:
                yield command
                command = []


def check(words: list[str]) -> None:
    """Raise AssertionError, or what the program's parser raises, for a command that is none."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program == "docker" and arguments[1:2] == ["exec"]:
        check(arguments[3:])
    elif program in ("python", "python3"):
        python(arguments)
    elif program in PROGRAMS:
        PROGRAMS[program](arguments)
    else:
        known = any(" ".join([program, *arguments]).startswith(other) for other in OTHERS)
        assert known, f"no test knows {' '.join(words)}"


def python(arguments: list[str]) -> None:
    if arguments[0] == "-W":
        python(arguments[2:])
    elif arguments[0] == "-c":
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]), arguments[1]
    else:
        assert arguments[0] == "manage.py", arguments
        manage(arguments[1], arguments[2:])


def manage(name: str, arguments: list[str]) -> None:
    assert name in get_commands(), f"manage.py has no {name}"
    command = get_commands()[name]
    loaded = command if isinstance(command, BaseCommand) else load_command_class(command, name)
    loaded.create_parser("manage.py", name, allow_abbrev=False).parse_args(arguments)


def run_celery(arguments: list[str]) -> None:
    assert arguments[:2] == ["-A", "yoursite"], arguments
    above = click.Context(celery, obj=CLIContext(app=app, no_color=True, workdir="."))
    name = arguments[2]
    assert name in celery.commands, f"celery has no {name}"
    celery.commands[name].make_context(name, arguments[3:], parent=above)


def pip(arguments: list[str]) -> None:
    assert arguments[0] == "install", arguments
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    known = str([project["dependencies"], project["optional-dependencies"]])
    for wanted in arguments[1:]:
        if wanted.startswith("-"):
            continue
        name, _, extras = wanted.rstrip("]").partition("[")
        if name == project["name"]:
            assert set(filter(None, extras.split(","))) <= set(project["optional-dependencies"])
        else:
            assert re.search(rf"\b{re.escape(name)}\b", known, re.IGNORECASE), wanted


def make(arguments: list[str]) -> None:
    target, *variables = arguments
    text = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{target}:", text, re.MULTILINE), f"make has no {target}"
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]} \?=", text, re.MULTILINE), variable


def waitress(arguments: list[str]) -> None:
    _, applications = Adjustments.parse_args(arguments)
    assert len(applications) == 1, applications


PROGRAMS = {
    "celery": run_celery,
    "make": make,
    "pip": pip,
    "waitress-serve": waitress,
    "pytest": lambda arguments: None,
}
