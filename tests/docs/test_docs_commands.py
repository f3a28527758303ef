"""Each command line of the documentation would be taken by the program it names."""

import re
from getopt import GetoptError
from pathlib import Path

import click
import pytest
from django.core.management import CommandError

from tests.docs.doc_pages import FOLLOWED, READ_ON_GITHUB, TEXTS, blocks, without_code
from tests.docs.doc_shell import check, lines

PAGES = [path for path in (*TEXTS, *READ_ON_GITHUB) if path != FOLLOWED]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_in_a_block_would_be_taken(path: Path) -> None:
    for block in blocks(path, "sh"):
        for words in lines(block.text):
            check(words)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_in_the_text_would_be_taken(path: Path) -> None:
    text = without_code(path.read_text("utf-8"))
    for command in re.findall(r"`((?:python|celery|make|pip|waitress-serve) [^`]+)`", text):
        for words in lines(command.replace("\n", " ")):
            check(words)


@pytest.mark.parametrize(
    "command",
    [
        "python manage.py rotate_keys",
        "python manage.py confirm_site --restore",
        "python manage.py import_connections --from allauth2",
        "python -m bench.nothing",
        "python -c 'import nothing_at_all'",
        "celery -A yoursite worker --concurency=4",
        "celery -A yoursite beats",
        "make demonstration",
        "pip install django-connected-accounts[rest]",
        "pip install left-pad",
        "waitress-serve --lissten=0.0.0.0:8000 yoursite.wsgi:application",
        "sudo rm -r /",
    ],
)
def test_a_command_that_is_none_is_found(command: str) -> None:
    (words,) = lines(command)
    with pytest.raises((AssertionError, CommandError, click.ClickException, GetoptError)):
        check(words)
