"""What each tool keeps of the life, without our recipe what the page says, and with it nothing.

Run by `make tools`. The numbers that are printed are the bytes that were searched, by place.
"""

import ast
import re
from pathlib import Path

import pytest

from tests.tools.conftest import ROOT, Kept, live

PAGE = ROOT / "docs" / "how-to" / "beside-your-tools.md"
ROWS = {
    "sentry": "Sentry",
    "sentry-all": "Sentry with personal data, whole stacks and logs",
    "otel": "OpenTelemetry",
    "elastic": "Elastic APM",
    "silk": "django-silk",
    "easy-audit": "django-easy-audit",
    "structlog": "django-structlog",
    "debug-toolbar": "django-debug-toolbar",
    "histories": "Histories and revisions",
    "axes": "django-axes, gunicorn, uvicorn, mails to admins",
    "none": "django-axes, gunicorn, uvicorn, mails to admins",
}
KINDS = ("code", "state", "token", "cookie", "sealed")
WITHOUT_RECIPE = ("axes", "none")
BY_UVICORN = ("none", "sentry", "otel", "structlog")


def said(tool: str, *, recipe: bool) -> set[str]:
    """The kinds of secrets that the page says a tool keeps."""
    for line in PAGE.read_text().splitlines():
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line)  # links
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if cells[0] == ROWS[tool]:
            told = cells[2 if recipe else 1].replace("encrypted tokens", "sealed")
            return {kind for kind in KINDS if re.search(rf"\b{kind}\b", told)}
    raise AssertionError(f"no row of {tool}")


def found(kept: Kept) -> set[str]:
    return set().union(*kept.found.values())


@pytest.mark.parametrize(
    ("tool", "server", "recipe"),
    [
        (tool, server, recipe)
        for tool in ROWS
        for server in ("gunicorn", "uvicorn")
        for recipe in (False, True)
        if (server == "gunicorn" or tool in BY_UVICORN) and not (recipe and tool in WITHOUT_RECIPE)
    ],
)
def test_a_tool_keeps_what_the_page_says(tool: str, server: str, recipe: bool) -> None:
    kept = live(tool, server, recipe=recipe)
    print(f"\n{tool}, {server}, recipe {recipe}: {kept.found} of {kept.sizes}")
    told = said(tool, recipe=recipe)
    assert found(kept) <= told, kept.found
    if server == "gunicorn":
        assert found(kept) == told, kept.found
    # The life was led, and the tool was there to see it.
    answers = [status for _, status in kept.statuses]
    assert len(answers) > 50
    assert {200, 303, 400, 500, 502} <= set(answers)
    assert kept.sizes["mail"] > 100_000
    if tool.startswith(("sentry", "otel", "elastic")):
        assert kept.sizes["sent"] > 100_000


def test_revisions_refuse_entered_credentials_until_the_pages_are_left_out() -> None:
    def answered(recipe: bool) -> list[int]:
        statuses = live("histories", "gunicorn", recipe=recipe).statuses
        return [status for path, status in statuses if path == "POST connections/bits/connect/"]

    assert answered(True)[0] == 303
    assert answered(False)[0] == 500


class Bare(ast.NodeTransformer):
    """Takes the annotations off."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node


def definitions(code: str) -> set[str]:
    tree = Bare().visit(ast.parse(code))
    return {ast.unparse(n) for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_the_recipes_stand_on_the_page_as_they_are_run() -> None:
    blocks = re.findall(r"```python[^\n]*\n(.*?)```", PAGE.read_text(), re.DOTALL)
    on_the_page = set().union(*map(definitions, blocks))
    run = definitions(Path(__file__).with_name("recipes.py").read_text())
    assert len(run) == 5
    assert run - on_the_page == set()
