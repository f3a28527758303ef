"""The quickstart page: read as it says, and the same as what other pages say."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from connected_accounts import conf
from connected_accounts.providers import registry
from connected_accounts.testing.sandbox import Sandbox
from tests.docs.doc_pages import ROOT, page
from tests.quickstart import page as quickstart
from tests.quickstart.__main__ import BLANKS

BLOCKS = quickstart.read()


def text_of(file: str) -> str:
    """All that the page puts into one file."""
    return "\n".join(block.text for block in BLOCKS if block.file == file)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the settings module that a reader of the page ends with."""
    for name in [*BLANKS, "FIELD_ENCRYPTION_KEY"]:
        monkeypatch.setenv(name, "value")
    made: dict[str, Any] = {
        "BASE_DIR": Path(),
        "DATABASES": {"default": {}},
        "INSTALLED_APPS": [],
        "TEMPLATES": [{}],
    }
    exec(text_of("yoursite/settings.py"), made)
    return made


def test_every_block_is_read() -> None:
    assert len(BLOCKS) == page("quickstart.md").count("\n```") / 2
    assert {block.language for block in BLOCKS} == {"sh", "python", "django", "text"}
    assert all(re.match(r"\d+\. ", block.step) for block in BLOCKS), "each is part of a step"


def test_every_block_is_written_typed_or_only_looked_at() -> None:
    for block in BLOCKS:
        kinds = [bool(block.file), block.is_typed, block.language == "text"]
        assert kinds.count(True) == 1, block
    assert {block.title for block in BLOCKS if block.is_typed} == {
        "",
        "a second terminal",
        "a third terminal",
        "a fourth terminal",
    }


def test_the_steps_are_numbered_and_few() -> None:
    steps = list(dict.fromkeys(block.step for block in BLOCKS))
    headings = re.findall(r"^## (\d.+)$", page("quickstart.md"), re.MULTILINE)
    assert steps == headings
    assert [int(step.split(".")[0]) for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) <= 8


def test_the_settings_of_the_page_pass_the_checks(written: dict[str, Any]) -> None:
    with override_settings(CONNECTED_ACCOUNTS=written["CONNECTED_ACCOUNTS"]):
        assert [*conf.problems(), *registry.problems()] == []
        assert [provider.name for provider in registry.get_providers()] == ["GitLab", "GitHub"]


def test_github_is_a_name_and_a_client(written: dict[str, Any]) -> None:
    entry = written["CONNECTED_ACCOUNTS"]["PROVIDERS"]["github"]
    assert set(entry) == {"SERVICE", "CLIENT_ID", "CLIENT_SECRET"}


def test_gitlab_is_what_the_command_prints(written: dict[str, Any]) -> None:
    with Sandbox("gitlab") as sandbox:
        printed = sandbox.entry()
        moved = str(printed).replace(sandbox.base, "http://127.0.0.1:9100")
    assert str(written["CONNECTED_ACCOUNTS"]["PROVIDERS"]["gitlab"]) == moved


def test_the_blanks_are_those_that_the_settings_read() -> None:
    blanks = set(re.findall(rf"^(\w+)={quickstart.BLANK}$", text_of(".env"), re.MULTILINE))
    read = set(re.findall(r'environ\["(\w+)"\]', text_of("yoursite/settings.py")))
    assert read == blanks | {"FIELD_ENCRYPTION_KEY"}
    assert blanks == set(BLANKS)
    others = "".join(block.text for block in BLOCKS if block.file != ".env")
    assert quickstart.BLANK not in others, "nothing else is left to be filled in"


def test_the_callback_is_where_the_urls_of_the_page_have_it() -> None:
    looked_at = [block.text.strip() for block in BLOCKS if block.language == "text"]
    (callback,) = [text for text in looked_at if text.startswith("http")]
    assert callback == "http://localhost:8000/connections/github/callback/"
    assert 'path("connections/", include("connected_accounts.urls"))' in text_of("yoursite/urls.py")


def test_the_readme_has_the_same_lines() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    settings = text_of("yoursite/settings.py")
    for line in (
        'INSTALLED_APPS += ["connected_accounts"]',
        'FIELD_ENCRYPTION_KEY = [os.environ["FIELD_ENCRYPTION_KEY"]]',
    ):
        assert line in readme, line
        assert line in settings, line
