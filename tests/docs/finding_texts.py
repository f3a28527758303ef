"""What ``check_provider`` can say, read from its source: each call that makes a finding."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.doc_pages import PACKAGE

SOURCES = [
    PACKAGE / "management/commands/check_provider.py",
    *sorted((PACKAGE / "operations/doctor").glob("*.py")),
]
# Two that are chosen between, and one that is handed over, beside the four themselves.
MAKERS = {
    "ok": "ok",
    "warning": "warning",
    "error": "error",
    "unchecked": "unchecked",
    "lacking": "error, warning",
    "judged": "error, warning",
    "level": "error, warning",
}


class Text(NamedTuple):
    """``says`` has ``…`` for what differs from time to time."""

    level: str
    says: str
    path: Path
    line: int


def texts() -> Iterator[Text]:
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                yield from _in(function, path)


def _in(function: ast.FunctionDef, path: Path) -> Iterator[Text]:
    named: dict[str, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, node.value)
    for call in ast.walk(function):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id in MAKERS and len(call.args) >= 2:
            says = _template(call.args[1], named).replace("……", "…")
            yield Text(MAKERS[call.func.id], says, path, call.lineno)


def _template(words: ast.expr, named: dict[str, ast.expr]) -> str:
    """The words, with a text that was put together before in its place, and ``…`` for the rest."""
    if isinstance(words, ast.Name) and isinstance(named.get(words.id), ast.JoinedStr):
        return _template(named[words.id], named)
    if isinstance(words, ast.FormattedValue):
        return _template(words.value, named)
    if isinstance(words, ast.JoinedStr):
        return "".join(_template(part, named) for part in words.values)
    return str(words.value) if isinstance(words, ast.Constant) else "…"
