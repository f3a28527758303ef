"""The lines that the page of Google Calendar counts are those that it shows."""

import re

from tests.docs.doc_pages import page, table

PAGE = "auditors/side-by-side.md"
HEADINGS = {"this app": "This app"}


def test_the_lines_of_each_way_are_counted() -> None:
    ways = re.split(r"^## ", page(PAGE), flags=re.MULTILINE)[1:]
    counted = {}
    for way in ways:
        code = "\n".join(re.findall(r"```python[^\n]*\n(.*?)```", way, re.DOTALL))
        counted[way.splitlines()[0]] = sum(1 for line in code.splitlines() if line.strip())
    said = {row[""]: int(row["Lines"]) for row in table(PAGE, "Google Calendar, four ways")}
    assert {HEADINGS.get(name, name): lines for name, lines in said.items()} == counted
    assert min(counted, key=lambda name: counted[name]) == "This app"
