"""German, French and Spanish are complete, compiled, and what the compiled files hold."""

import ast
import gettext
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
from django.template import Engine
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.test import Client
from django.utils.translation import override, trim_whitespace

from connected_accounts.models import ConnectedAccount
from tests.docs.doc_pages import PACKAGE, sources

LANGUAGES = ("de", "es", "fr")
MARKS = {"_", "gettext", "gettext_lazy", "ngettext"}
IN_CONTEXT = {"pgettext", "pgettext_lazy"}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


def catalogue(language: str) -> dict[Any, str]:
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in catalog.items() if key}


def marked_in_code() -> Iterator[str]:
    for path, text in sources():
        if "migrations" in str(path):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MARKS:
                yield from (a.value for a in node.args if isinstance(a, ast.Constant))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in IN_CONTEXT:
                yield "\x04".join(a.value for a in node.args if isinstance(a, ast.Constant))


def marked_in_templates() -> Iterator[str]:
    engine = Engine(
        libraries={
            "connected_accounts_parts": "connected_accounts.templatetags.connected_accounts_parts",
            "i18n": "django.templatetags.i18n",
            "static": "django.templatetags.static",
        }
    )
    folder = PACKAGE / "templates"
    for path in [*folder.rglob("*.html"), *folder.rglob("*.txt")]:
        nodes = engine.from_string(path.read_text("utf-8")).nodelist
        for node in nodes.get_nodes_by_type(TranslateNode):
            context = node.message_context  # type: ignore[attr-defined]
            before = f"{context.var}\x04" if context else ""
            yield before + node.filter_expression.var.literal  # type: ignore[attr-defined]
        for node in nodes.get_nodes_by_type(BlockTranslateNode):
            for tokens in filter(None, (node.singular, node.plural)):  # type: ignore[attr-defined]
                text, _names = node.render_token_list(tokens)  # type: ignore[attr-defined]
                yield trim_whitespace(text) if node.trimmed else text  # type: ignore[attr-defined]


@cache
def marked() -> set[str]:
    return {t for t in (*marked_in_code(), *marked_in_templates()) if isinstance(t, str)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    known = catalogue(language)
    singular = {key[0] if isinstance(key, tuple) else key for key in known}
    missing = {text for text in marked() if text not in singular}
    assert missing - plurals(language) == set()
    assert [key for key, text in known.items() if not text.strip()] == []


def entries(language: str) -> list[dict[str, str]]:
    """The entries of the source file, each by its keywords."""
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"
    assert "#, fuzzy" not in path.read_text("utf-8")
    found = []
    for block in path.read_text("utf-8").split("\n\n")[1:]:
        parts = re.findall(r'^(msg\w+(?:\[\d\])?) ((?:".*"\n?)+)', block, flags=re.MULTILINE)
        found.append({name: "".join(map(ast.literal_eval, t.splitlines())) for name, t in parts})
    return found


def key_of(entry: dict[str, str]) -> str:
    return "\x04".join(entry[name] for name in ("msgctxt", "msgid") if name in entry)


def plurals(language: str) -> set[str]:
    return {e["msgid_plural"] for e in entries(language) if "msgid_plural" in e}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_file_is_that_of_its_source(language: str) -> None:
    known, listed = catalogue(language), entries(language)
    expected: dict[Any, str] = {}
    for entry in listed:
        if "msgid_plural" in entry:
            expected |= {(entry["msgid"], n): entry[f"msgstr[{n}]"] for n in (0, 1)}
        else:
            expected[key_of(entry)] = entry["msgstr"]
    assert known == expected
    assert {key_of(entry) for entry in listed} <= marked(), "no longer used"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    for key, text in catalogue(language).items():
        original = key[0] if isinstance(key, tuple) else key
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(original)), original


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ["Verbundene Konten", "Erneut verbinden", "Die Badges in Ihrem Backpack sehen"]),
        ("fr", ["Comptes connectés", "Reconnecter", "Voir les badges de votre sac à dos"]),
        ("es", ["Cuentas conectadas", "Volver a conectar", "Ver las insignias de su mochila"]),
    ],
)
def test_the_page_is_in_the_persons_language(
    account: ConnectedAccount, client_of_ada: Client, language: str, words: list[str]
) -> None:
    with override(language):
        text = client_of_ada.get("/connections/").content.decode()
    assert f'<div class="ca-page" lang="{language}" dir="ltr">' in text
    assert [word for word in words if word not in text] == []


def test_the_folders_are_those_of_the_languages() -> None:
    assert sorted(path.name for path in Path(PACKAGE / "locale").iterdir()) == list(LANGUAGES)


def test_no_short_text_is_another_catalogues() -> None:
    """Django takes a text that several apps have from the first of them: ours then need a context.
    These four mean the same there."""
    django_catalogues = Path(django.__file__).parent.rglob("de/LC_MESSAGES/django.mo")
    others: set[Any] = set()
    for path in django_catalogues:
        with path.open("rb") as file:
            catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        others |= {key[0] if isinstance(key, tuple) else key for key in catalog}
    ours = {key[0] if isinstance(key, tuple) else key for key in catalogue("de")}
    assert ours & others == {"Home", "site", "user", "users"}


def test_french_has_its_own_apostrophes_and_spaces() -> None:
    for key, text in catalogue("fr").items():
        assert "'" not in text, key
        assert not re.search(r" [:;?!»]|« ", text), key


def test_a_language_has_its_own_quotation_marks() -> None:
    for language, wrong in (("de", '”«»"'), ("fr", "“”„"), ("es", "“”„")):
        for key, text in catalogue(language).items():
            quoted = re.sub(r"<[^>]*>", "", text)
            assert not set(wrong) & set(quoted), key
