"""The shape of the package: its public names, its error tree, its layers' manners, its size."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import connected_accounts
from connected_accounts import exceptions, services, signals
from connected_accounts.schedule import BEAT_SCHEDULE

PACKAGE = Path(connected_accounts.__file__).parent
ROOT = PACKAGE.parent
SOURCES = sorted(
    path
    for folder in (PACKAGE, ROOT / "example_project")
    for path in folder.rglob("*.py")
    if "migrations" not in path.parts
)
OURS = [path for path in SOURCES if path.is_relative_to(PACKAGE)]

TREE = {
    "ConnectedAccountsError": "Exception",
    "ConfigurationError": "ConnectedAccountsError",
    "AuthorizationDenied": "ConnectedAccountsError",
    "InsufficientScope": "ConnectedAccountsError",
    "InvalidState": "ConnectedAccountsError",
    "ReauthorizationRequired": "ConnectedAccountsError",
    "Undecryptable": "ConnectedAccountsError",
    "ProviderError": "ConnectedAccountsError",
    "ProviderUnavailable": "ProviderError",
    "ClientRejected": "ProviderError",
    "UnexpectedResponse": "ProviderError",
}


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


# --- Names --------------------------------------------------------------------------------------


def test_the_services_names_are_sorted_and_all_there() -> None:
    assert services.__all__ == sorted(services.__all__)
    assert sorted(services._HOMES) == services.__all__
    for name in services.__all__:
        value = getattr(services, name)
        assert value.__module__ == f"connected_accounts.{services._HOMES[name]}", name
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="no_such_verb"):
        services.no_such_verb  # noqa: B018


def test_the_services_are_those_of_the_contract() -> None:
    verbs = ["disconnect", "get_access_token", "refresh"]
    asynchronous = [f"a{verb}" for verb in verbs]
    others = [
        "Completed",
        "complete_authorization",
        "connect_directly",
        "disconnect_all",
        "export",
        "get_access_token_of",
        "get_session",
        "move_to_owner",
        "retire_owner",
        "start_authorization",
    ]
    assert services.__all__ == sorted([*verbs, *asynchronous, *others])
    for name in asynchronous:
        assert inspect.iscoroutinefunction(getattr(services, name))


def test_what_type_checkers_see_of_the_services_is_what_there_is() -> None:
    tree = ast.parse((PACKAGE / "services" / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: str(node.module).removeprefix("connected_accounts.")
        for node in imports
        if str(node.module).startswith("connected_accounts.")
        for alias in node.names
    }
    assert seen == services._HOMES


def test_the_error_tree_is_the_documented_one() -> None:
    found = {
        name: cls.__base__.__name__
        for name, cls in vars(exceptions).items()
        if inspect.isclass(cls)
        and issubclass(cls, Exception)
        and cls.__module__ == exceptions.__name__
    }
    assert found == TREE


@pytest.mark.parametrize("name", TREE)
def test_an_errors_doc_is_its_message_and_a_code_is_added(name: str) -> None:
    cls: Any = getattr(exceptions, name)
    first = " ".join(cls.__doc__.split("\n\n")[0].split())
    assert str(cls()) == first
    assert str(cls("some_code")) == f"{first} (some_code)"
    assert cls("some_code", "Own words.").message == "Own words."
    assert cls("some_code").code == "some_code"


def test_the_signals_are_the_documented_ones() -> None:
    names = [name for name in vars(signals) if name.islower() and name[0].isalpha()]
    assert sorted(names) == [
        "account_connected",
        "account_disconnected",
        "account_refreshed",
        "reconnect_required",
        "refresh_failed",
    ]
    assert all(name in str(signals.__doc__) for name in names)


def test_the_schedule_names_tasks_that_exist() -> None:
    tasks = importlib.import_module("connected_accounts.tasks")
    named = {entry["task"] for entry in BEAT_SCHEDULE.values()}
    assert named == set(BEAT_SCHEDULE)
    for name in named:
        assert getattr(tasks, name.rpartition(".")[2]).name == name
    assert all(isinstance(entry["schedule"], float) for entry in BEAT_SCHEDULE.values())


# --- Imports ------------------------------------------------------------------------------------


def test_the_schedule_needs_neither_celery_nor_django() -> None:
    code = "import sys, connected_accounts.schedule\nprint([m for m in ('celery', 'django') "
    assert run_python(code + "if m in sys.modules])") == "[]"


def test_starting_the_site_loads_neither_celery_nor_requests() -> None:
    code = """
import sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    FIELD_ENCRYPTION_KEY=["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="],
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "django.contrib.messages", "django.contrib.sessions", "connected_accounts",
    ],
)
django.setup()  # which loads each app's admin module, too
import connected_accounts.services, connected_accounts.urls, connected_accounts.api.urls
print([m for m in ("celery", "requests", "requests_oauthlib", "urllib3") if m in sys.modules])
"""
    assert run_python(code) == "[]"


# --- Manners ------------------------------------------------------------------------------------


@cache
def functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of the sources, with its file. Read when it is asked for: every worker imports
    this module, and one runs it."""
    return [
        (where(path), node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_every_function_fits_a_screen() -> None:
    lengths = {
        f"{file}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for file, node in functions()
    }
    assert {name: lines for name, lines in lengths.items() if lines > 45} == {}


def demanded(arguments: ast.arguments) -> int:
    """How many parameters a caller must think of: all but keywords that have a default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    own = [argument for argument in positional if argument.arg not in ("self", "cls")]
    return len(own) + sum(default is None for default in arguments.kw_defaults)


def test_no_function_wants_more_than_eight_parameters() -> None:
    counts = {f"{file}:{node.name}": demanded(node.args) for file, node in functions()}
    assert {name: count for name, count in counts.items() if count > 8} == {}


def test_the_doors_of_the_package_are_few() -> None:
    doors = [path.name for path in PACKAGE.iterdir() if path.is_file()]
    assert len(doors) <= 16, sorted(doors)


def test_no_wing_has_more_than_sixteen_modules() -> None:
    wings = {where(path.parent) for path in OURS if path.parent != PACKAGE}
    sizes = {wing: len([*(ROOT / wing).glob("[!_]*.py")]) for wing in wings}
    assert {wing: size for wing, size in sizes.items() if size > 16} == {}


def test_no_module_is_named_by_a_gerund() -> None:
    # ``testing`` is what Django calls it, and sealing is what is done there.
    parts = {path.stem for path in OURS} | {path.parent.name for path in OURS}
    assert sorted(part for part in parts if part.endswith("ing")) == ["sealing", "testing"]


def test_every_module_says_what_it_owns() -> None:
    texts = {where(path): path.read_text() for path in OURS}
    assert [name for name, text in texts.items() if text and not text.startswith('"""')] == []


BEGINNINGS = ("What ", "Of ", "Who ", "Whom ", "Whose ", "Asked ", "Looked at ", "How ")


def test_no_docstring_begins_with_a_clause_in_place_of_its_subject() -> None:
    found = [
        f"{where(path)}:{getattr(node, 'name', 'module')}"
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (ast.get_docstring(node) or "").startswith(BEGINNINGS)
    ]
    assert found == []


def test_no_module_is_a_drawer_for_anything() -> None:
    drawers = ("util", "helper", "common", "misc")
    parts = {part.lower() for path in SOURCES for part in path.relative_to(ROOT).parts}
    assert [part for part in parts if part.startswith(drawers)] == []


WRITERS = {"update", "transition", "create", "get_or_create", "update_or_create", "_transition"}


def writes_status(node: ast.AST) -> bool:
    """Whether a piece of code gives an account's ``status`` a value."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WRITERS:
        return any(keyword.arg == "status" for keyword in node.keywords)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return any(
            isinstance(key, ast.Constant)
            and key.value == "status"
            and "Status." in ast.unparse(value)
            for key, value in pairs
        )
    if isinstance(node, ast.Assign):
        to_status = any(ast.unparse(target).endswith(".status") for target in node.targets)
        return to_status and "Status." in ast.unparse(node.value)
    return False


def test_only_the_marks_of_the_account_write_its_status() -> None:
    found = set()
    for path in OURS:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.name}:{function.name}"
                found |= {name for node in ast.walk(function) if writes_status(node)}
    marks = [
        "mark_all_refreshed",
        "mark_connected",
        "mark_endpoints_confirmed",
        "mark_reconnect_required",
        "mark_refreshed",
    ]
    assert sorted(name.partition(":")[2] for name in found) == marks
    assert {name.partition(":")[0] for name in found} == {"accounts.py"}


def test_only_one_module_reads_the_settings_of_the_app() -> None:
    marks = ("settings.CONNECTED_ACCOUNTS", '"CONNECTED_ACCOUNTS"')
    readers = [where(p) for p in OURS if any(mark in p.read_text() for mark in marks)]
    allowed = ("connected_accounts/conf.py", "connected_accounts/testing/")
    assert [name for name in readers if not name.startswith(allowed)] == []


def test_no_query_joins_an_account_with_its_token() -> None:
    joins = [
        f"{where(path)}:{call.lineno}"
        for path in OURS
        for call in calls(path)
        if getattr(call.func, "attr", "") == "select_related"
        and (not call.args or any("account" in ast.unparse(name) for name in call.args))
    ]
    assert joins == []
