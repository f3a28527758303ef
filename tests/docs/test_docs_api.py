"""The documentation of models, services, signals, tasks and errors says what the code does."""

import argparse
import ast
import dataclasses
import inspect
import re
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from django.dispatch import Signal

from connected_accounts import decorators, models, schedule, services, signals, tasks
from connected_accounts.importers.run import BATCH, SOURCES
from connected_accounts.operations.health import Health
from connected_accounts.sealing import SealedTextField
from tests.docs.doc_pages import (
    column,
    names,
    page,
    quantity,
    section,
    sources,
    table,
    tables,
    value,
)

# Models.


@pytest.mark.parametrize(
    ("heading", "model"),
    [(model.__name__, model) for model in apps.get_app_config("connected_accounts").get_models()],
)
def test_every_field_is_documented(heading: str, model: Any) -> None:
    documented = []
    for where in ("reference/models.md", "auditors/internal-models.md"):
        if f"\n## {heading}\n" in page(where):
            for rows in tables(section(where, heading))[:1]:
                documented += column(rows, "Field")
    assert sorted(documented) == sorted(field.name for field in model._meta.concrete_fields)


@pytest.mark.parametrize(
    ("heading", "number", "head", "choices"),
    [
        ("Statuses", 0, "Status", models.Status),
        ("Reasons", 0, "Reason", models.Reason),
        ("Revocation", 1, "Outcome", models.Outcome),
        ("Event", 1, "Kind", models.Kind),
    ],
)
def test_every_choice_is_documented(heading: str, number: int, head: str, choices: Any) -> None:
    rows = table("reference/models.md", heading, number)
    assert sorted(column(rows, head)) == sorted(choices.values)


def test_every_model_and_queryset_method_is_documented() -> None:
    text = page("reference/models.md") + page("auditors/internal-models.md")
    kinds = [name for name in models.__all__ if hasattr(getattr(models, name), "_meta")]
    assert [kind for kind in kinds if kind not in text] == []
    for row in table("reference/models.md", "Querysets"):
        name, _, rest = names(row["Method"])[0].partition("(")
        method = getattr(models.ConnectedAccount.objects.all(), name)
        parameters = [p for p in rest.rstrip(")").split(", ") if p]
        assert list(inspect.signature(method).parameters) == parameters


def test_every_sealed_column_is_documented() -> None:
    documented = column(table("explanation/sealing.md", "What"), "Where")
    found = {
        f"{model.__name__}.{field.name}"
        for model in apps.get_app_config("connected_accounts").get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, SealedTextField)
    }
    assert set(documented) == found | {"store_refresh"}


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


def test_every_option_of_a_command_is_documented_with_its_default() -> None:
    rows = table("reference/tasks.md", "Options")
    documented = {
        (command, names(row["Option"])[0]): row for row in rows for command in names(row["Command"])
    }
    found: dict[tuple[str, str], argparse.Action] = {}
    for name in column(table("reference/tasks.md", "Commands"), "Command"):
        parser = CommandParser()
        load_command_class("connected_accounts", name).add_arguments(parser)
        for action in parser._actions:
            if action.dest != "help":
                found[name, str((action.option_strings or [action.metavar])[-1])] = action
    assert set(documented) == set(found)
    for key, action in found.items():
        row = documented[key]
        assert ("*" in row["Option"]) == (type(action).__name__ == "_AppendAction"), key
        assert (row["Default"] == "required") == bool(action.required and action.option_strings)
        if isinstance(action.default, int) and action.default is not False:
            assert value(row["Default"]) == action.default, key
        if action.choices:
            assert names(row["Does"]) == list(action.choices)


def test_every_template_tag_is_documented_with_its_parameters() -> None:
    headings = re.findall(
        r"^### `{% (\w+)(.*?) %}`$", page("reference/views-and-tags.md"), flags=re.MULTILINE
    )
    documented = {name: re.findall(r"\w+", rest.partition(" as ")[0]) for name, rest in headings}
    module = import_module("connected_accounts.templatetags.connected_accounts")
    assert documented == {
        name: list(inspect.signature(getattr(module, name)).parameters)[1:]  # the first: context
        for name in module.register.tags
    }


def test_the_attributes_of_the_mixin_and_of_completed_are_documented() -> None:
    mixin = inspect.get_annotations(decorators.ConnectionRequiredMixin)
    assert set(mixin) <= set(names(page("reference/views-and-tags.md")))
    text = page("reference/services.md").partition("### `Completed`")[2]
    assert names(text) == [field.name for field in dataclasses.fields(services.Completed)]


def test_the_figures_are_documented() -> None:
    documented = column(table("reference/tasks.md", "Figures"), "Figure")
    found = {field.name for field in dataclasses.fields(Health)}
    assert set(documented) == found - {"provider"}


def test_what_can_be_imported_is_documented() -> None:
    name = "how-to/move-from-elsewhere.md"
    assert sorted(column(tables(page(name))[0], "`--from`")) == sorted(SOURCES)
    assert f"batches of {BATCH}" in page(name)
