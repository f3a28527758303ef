"""The templates of the documentation are rendered: those with a name in the place of that name."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import reverse

from connected_accounts.models import ConnectedAccount
from tests.docs.doc_pages import FOLLOWED, TEXTS, Block, blocks
from tests.docs.doc_python import write
from tests.owners import teams

BLOCKS = [block for path in TEXTS if path != FOLLOWED for block in blocks(path, "django")]
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.title], ids=str)
def test_a_piece_of_a_template_can_be_rendered(
    block: Block,
    ada: Any,
    account: ConnectedAccount,
    app_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app_settings(OWNERS=teams.HOOK)
    monkeypatch.setitem(teams.members, "crew", {ada.pk: teams.ALL})
    request: Any = RequestFactory().get("/backpack/")
    request.user = ada
    context = {"account": account, "team_key": "team:crew"}
    text = engines["django"].from_string(block.text).render(context, request)
    assert text.strip()
    assert ("owner=team_key" in block.text) == ('name="owner" value="team:crew"' in text)
    if block.text.startswith("{% url "):
        assert reverse("connected_accounts:reconnect", args=[account.pk]) in text


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.title], ids=str)
def test_a_template_of_the_sites_own_is_used(
    block: Block,
    settings: Any,
    tmp_path: Path,
    client_of_ada: Client,
    account: ConnectedAccount,
) -> None:
    write(tmp_path, block)
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path / "templates"]}]
    pages = [
        reverse("connected_accounts:list"),
        reverse("connected_accounts:connect", args=["badgr"]),
        reverse("connected_accounts:disconnect", args=[account.pk]),
    ]
    answers = [client_of_ada.get(page) for page in pages]
    assert [answer.status_code for answer in answers] == [200] * len(pages)
    used = {template.origin.name for answer in answers for template in answer.templates}
    assert str(tmp_path / block.title) in used
    words = max(
        re.split(r"{[%{].*?[%}]}|<[^>]*>", block.text), key=lambda s: len(s.strip())
    ).strip()
    shown = words or "connected_accounts/connected_accounts.css"
    assert any(shown in answer.content.decode() for answer in answers), shown
