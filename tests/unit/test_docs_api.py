"""The documentation of models, services, signals, tasks and errors says what the code does."""

import ast
import inspect
import re
from typing import Any

import pytest
from django.core.management import get_commands
from django.dispatch import Signal

from connected_accounts import decorators, exceptions, models, schedule, services, signals, tasks
from tests.unit.doc_pages import (
    DOCS,
    code_blocks,
    column,
    names,
    page,
    quantity,
    sources,
    table,
    tables,
)

# Models.


@pytest.mark.parametrize(
    ("heading", "model"),
    [("ConnectedAccount", models.ConnectedAccount), ("Revocation", models.Revocation)],
)
def test_every_field_is_documented(heading: str, model: Any) -> None:
    documented = column(table("reference/models.md", heading), "Field")
    assert sorted(documented) == sorted(field.name for field in model._meta.concrete_fields)


@pytest.mark.parametrize(
    ("heading", "number", "head", "choices"),
    [
        ("Statuses", 0, "Status", models.Status),
        ("Reasons", 0, "Reason", models.Reason),
        ("Revocation", 1, "Outcome", models.Outcome),
        ("Event", 0, "Kind", models.Kind),
    ],
)
def test_every_choice_is_documented(heading: str, number: int, head: str, choices: Any) -> None:
    rows = table("reference/models.md", heading, number)
    assert sorted(names(row[head])[0] for row in rows) == sorted(choices.values)


def test_every_model_and_queryset_method_is_documented() -> None:
    text = page("reference/models.md")
    kinds = [name for name in models.__all__ if hasattr(getattr(models, name), "_meta")]
    assert [kind for kind in kinds if kind not in text] == []
    for row in table("reference/models.md", "Querysets"):
        name, _, rest = names(row["Method"])[0].partition("(")
        method = getattr(models.ConnectedAccount.objects.all(), name)
        parameters = [p for p in rest.rstrip(")").split(", ") if p]
        assert list(inspect.signature(method).parameters) == parameters


# Services, decorators, signals, tasks, errors.


@pytest.mark.parametrize(
    ("name", "documented", "module"),
    [
        ("reference/services.md", services.__all__, services),
        (
            "reference/views-and-tags.md",
            ["ConnectedRequest", "ConnectionRequiredMixin", "connection_required"],
            decorators,
        ),
    ],
)
def test_every_public_name_has_a_heading_with_its_parameters(
    name: str, documented: list[str], module: Any
) -> None:
    headings = re.findall(r"^### `([a-zA-Z_]+)(?:\((.*)\))?`$", page(name), flags=re.MULTILINE)
    assert sorted(head for head, _ in headings) == sorted(documented)
    for head, parameters in headings:
        if inspect.isfunction(getattr(module, head)):
            parsed = ast.parse(f"def f({parameters}): ...").body[0]
            assert isinstance(parsed, ast.FunctionDef)
            given = [arg.arg for arg in [*parsed.args.args, *parsed.args.kwonlyargs]]
            assert given == list(inspect.signature(getattr(module, head)).parameters)


def signal_arguments() -> dict[str, set[str]]:
    """What each signal is sent with, in the code."""
    found: dict[str, set[str]] = {}
    for _, text in sources():
        for call in ast.walk(ast.parse(text)):
            if not isinstance(call, ast.Call):
                continue
            # signals.name.send_robust(sender, …) or partial(signals.name.send_robust, sender, …)
            for sent in (call.func, *call.args[:1]):
                match = re.fullmatch(r"signals\.(\w+)\.send_robust", ast.unparse(sent))
                if match:
                    found[match[1]] = {str(keyword.arg) for keyword in call.keywords}
    return found


def test_every_signal_is_documented_with_its_arguments() -> None:
    rows = tables(page("reference/signals.md"))[0]
    documented = {names(row["Signal"])[0]: set(names(row["Arguments"])) for row in rows}
    assert documented == signal_arguments()
    assert set(documented) == {
        name for name, member in vars(signals).items() if isinstance(member, Signal)
    }


def test_every_task_is_documented_with_its_arguments() -> None:
    found = {
        task.name: [name for name in inspect.signature(task.run).parameters if name != "self"]
        for task in vars(tasks).values()
        if hasattr(task, "apply_async")
    }
    rows = table("reference/tasks.md", "Tasks")
    assert {names(row["Task"])[0]: names(row["Arguments"]) for row in rows} == found


def test_the_schedule_is_documented() -> None:
    rows = table("reference/tasks.md", "Schedule")
    assert {names(row["Task"])[0]: quantity(row["Every"]) for row in rows} == {
        entry["task"]: entry["schedule"] for entry in schedule.BEAT_SCHEDULE.values()
    }


def test_every_command_is_documented() -> None:
    documented = column(table("reference/tasks.md", "Commands"), "Command")
    ours = [name for name, app in get_commands().items() if app == "connected_accounts"]
    assert sorted(documented) == sorted(ours)


def test_every_error_is_documented_in_its_place_in_the_tree() -> None:
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(exceptions, inspect.isclass)
        if kind.__module__ == exceptions.__name__
    }
    documented = column(tables(page("reference/errors.md"))[0], "Error")
    assert sorted(documented) == sorted(kinds)
    (tree,) = code_blocks(DOCS / "reference/errors.md", "text")
    above: list[str] = []
    for line in tree.splitlines():
        name = re.sub(r"\W", "", line)
        depth = (len(line) - len(name)) // 4
        above = [*above[:depth], name]
        parent = kinds[name].__bases__[0].__name__
        assert parent == (above[depth - 1] if depth else "Exception")
