"""What axe-core says of a page, and what a browser says of its policy."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def find_axe() -> str:
    named = os.environ.get("CONNECTED_ACCOUNTS_AXE")
    path = Path(named) if named else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("browser axe-core is not there: npm install --no-save axe-core@4")
    return path.read_text("utf-8")


def violations(page: Any, axe: str, within: str = "html", but: Sequence[str] = ()) -> list[str]:
    """What is wrong with the part of a page that a selector names, without some parts of that."""
    # Through the debugger, which a Content-Security-Policy does not stop.
    page.evaluate(axe)
    part = {"include": [within], "exclude": list(but)}
    run = f"axe.run({json.dumps(part)}, {{runOnly: {json.dumps(RULES)}}})"
    return [
        f"{found['id']}: {node['html'][:160]}"
        for found in page.evaluate(run)["violations"]
        for node in found["nodes"]
    ]


def scrolls_sideways(page: Any) -> bool:
    found: bool = page.evaluate(SIDEWAYS)
    return found
