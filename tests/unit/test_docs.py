"""The documentation says what the code does: its tables, names, numbers, links and examples."""

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands
from django.dispatch import Signal
from django.http import HttpResponse
from django.template.utils import get_app_template_dirs
from django.test import override_settings

import connected_accounts
from connected_accounts import (
    browser,
    conf,
    decorators,
    exceptions,
    failures,
    models,
    providers,
    schedule,
    services,
    signals,
    tasks,
    urls,
)
from connected_accounts.providers import registry
from connected_accounts.providers.badgr import REGIONS, Badgr, hosts
from connected_accounts.providers.base import DECLARED, ENDPOINT_NAMES, Provider
from connected_accounts.providers.bitbadges import BitBadges

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(connected_accounts.__file__).parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", *PAGES]
IDS = [str(path.relative_to(ROOT)) for path in TEXTS]
UNITS = {
    "": 1.0,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "years": 365 * 86400.0,
    "KiB": 1024.0,
    "MiB": 1024.0 * 1024,
    "%": 0.01,
}

Row = dict[str, str]


# Reading Markdown.


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    parts = re.split(r"^#+ (.+)$", without_code(page(name)), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert heading in found, f"{name} has no heading {heading!r}"
    return found[heading]


def tables(text: str) -> list[list[Row]]:
    """The tables in a text, each row a dict from column heading to cell."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        heads, _, *rows = lines
        found.append([dict(zip(heads, row, strict=True)) for row in rows])
    return found


def table(name: str, heading: str, number: int = 0) -> list[Row]:
    return tables(section(name, heading))[number]


def names(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return re.findall(r"`([^`]*)`", cell)


def column(rows: list[Row], head: str) -> list[str]:
    return list(itertools.chain.from_iterable(names(row[head]) for row in rows))


def value(cell: str) -> Any:
    return ast.literal_eval(names(cell)[0])


def code_blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def sources(under: str = "") -> Iterator[tuple[Path, str]]:
    for path in sorted((PACKAGE / under).rglob("*.py")):
        if "migrations" not in path.parts and "testing" not in path.parts:
            yield path, path.read_text(encoding="utf-8")


# Settings and checks.


@pytest.mark.parametrize(
    ("heading", "defaults"),
    [("Top level", conf.DEFAULTS), ("One provider", conf.PROVIDER_DEFAULTS)],
)
def test_every_setting_is_documented_with_its_default(
    heading: str, defaults: Mapping[str, Any]
) -> None:
    documented = {
        names(row["Key"])[0]: value(row["Default"])
        for row in table("reference/settings.md", heading)
    }
    assert documented == defaults


def test_the_ranges_of_numbers_are_those_that_the_check_demands() -> None:
    documented = {}
    for row in table("reference/settings.md", "Top level"):
        found = re.fullmatch(r"([\d.]+) to ([\d.]+)", row["Range"])
        if found:
            documented[names(row["Key"])[0]] = (float(found[1]), float(found[2]))
    assert documented == conf._LIMITS


def test_every_check_is_documented() -> None:
    raised = set()
    for _, text in sources():
        raised |= set(re.findall(r"Problem\(\s*\"(E\d{3})\"", text))
        raised |= set(re.findall(r"id=\"connected_accounts\.(W\d{3})\"", text))
    documented = column(tables(page("reference/checks.md"))[0], "Id")
    assert documented == sorted(f"connected_accounts.{name}" for name in raised)


# Providers.


def bundled() -> dict[str, type[Provider]]:
    found = {}
    for module in pkgutil.iter_modules(providers.__path__):
        loaded = importlib.import_module(f"connected_accounts.providers.{module.name}")
        for name, kind in inspect.getmembers(loaded, inspect.isclass):
            if kind.__module__ == loaded.__name__ and issubclass(kind, Provider):
                found[f"{loaded.__name__}.{name}"] = kind
    del found["connected_accounts.providers.base.Provider"]
    return found


def test_every_included_provider_is_documented() -> None:
    rows = table("reference/providers.md", "Included")
    assert {names(row["`BACKEND`"])[0]: row["Name"] for row in rows} == {
        path: kind.name for path, kind in bundled().items()
    }


def test_every_declared_value_is_documented_with_its_default() -> None:
    documented = {
        names(row["Value"])[0]: value(row["Default"])
        for row in table("reference/providers.md", "Declared values")
    }
    assert documented == {name: getattr(Provider, name) for name in DECLARED}


@pytest.mark.parametrize("kind", [Badgr, BitBadges])
def test_what_an_included_provider_declares_is_documented(kind: type[Provider]) -> None:
    shown = {
        names(row["Value"])[0]: value(row[kind.name])
        for row in table("reference/providers.md", "What they declare")
    }
    assert shown == {name: getattr(kind, name) for name in shown}
    declared = DECLARED & set(vars(kind))
    assert declared - set(shown) <= {"name", "scope_descriptions", *ENDPOINT_NAMES}


@pytest.mark.parametrize("kind", [Badgr, BitBadges])
def test_a_providers_page_has_its_options_and_scopes(kind: type[Provider]) -> None:
    name = f"how-to/{kind.__name__.lower()}.md"
    options = {names(row["Option"])[0]: value(row["Default"]) for row in table(name, "Options")}
    assert options == kind.own_options
    scopes = {names(row["Scope"])[0]: row["Lets your site"] for row in table(name, "Scopes")}
    assert scopes == {scope: str(words) for scope, words in kind.scope_descriptions.items()}


def test_badgrs_page_has_the_hosts_of_every_region() -> None:
    rows = table("how-to/badgr.md", "Options", 1)
    assert {
        names(row["Region"])[0]: tuple(
            names(row[f"{what} (`{brand}`)"])[0]
            for brand in ("badgr", "parchment")
            for what in ("Pages", "API")
        )
        for row in rows
    } == {region: hosts("badgr", region) + hosts("parchment", region) for region in REGIONS}


def test_bitbadges_page_has_the_endpoints_of_each_dialect() -> None:
    for row in table("how-to/bitbadges.md", "Options", 1):
        entry = {
            "BACKEND": "connected_accounts.providers.bitbadges.BitBadges",
            "CLIENT_ID": "client",
            "OPTIONS": {"dialect": names(row["Dialect"])[0]},
        }
        with override_settings(CONNECTED_ACCOUNTS={"PROVIDERS": {"bitbadges": entry}}):
            endpoints = registry.get_provider("bitbadges").endpoints()
        assert names(row["Authorize"]) == [endpoints.authorization_endpoint]
        assert names(row["Token"]) == [endpoints.token_endpoint]
        assert names(row["Revoke"]) == [endpoints.revocation_endpoint]


def test_every_hook_is_documented() -> None:
    rows = table("how-to/write-a-provider.md", "Hooks")
    for row in rows:
        name, parameters = names(row["Hook"])[0].rstrip(")").split("(")
        signature = inspect.signature(getattr(Provider, name))
        assert list(signature.parameters)[1:] == [p for p in parameters.split(", ") if p]
    hooks = {names(row["Hook"])[0].partition("(")[0] for row in rows}
    assert hooks == set(names(section("reference/providers.md", "Hooks")))


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
            ["ConnectionRequiredMixin", "connection_required"],
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


# URLs and pages.


def test_every_url_is_documented_with_its_path_and_methods() -> None:
    documented = {
        names(row["Name"])[0]: (row["Path"].strip("`"), row["Methods"].split(", "))
        for row in table("reference/urls.md", "Pages")
    }
    assert documented == {
        pattern.name: (
            str(pattern.pattern),
            [
                method.upper()
                for method in ("get", "post", "put", "patch", "delete")
                if hasattr(pattern.callback.view_class, method)
            ],
        )
        for pattern in urls.urlpatterns
    }


def test_every_failure_is_documented_with_its_status() -> None:
    kinds = {
        **dict.fromkeys(["malformed", "unknown", "other_provider"], exceptions.InvalidState),
        **dict.fromkeys(failures._STATES, exceptions.InvalidState),
        **dict.fromkeys(failures._DENIED, exceptions.AuthorizationDenied),
        "unknown_scope": exceptions.ConfigurationError,
    }
    classes = ["ProviderUnavailable", "UnexpectedResponse", "ClientRejected", "ConfigurationError"]
    rows = {names(row["Code"])[0]: row for row in table("reference/urls.md", "Failures")}
    assert sorted(rows) == sorted([*kinds, *classes])
    for code, row in rows.items():
        error = kinds[code](code) if code in kinds else getattr(exceptions, code)()
        failure = failures.failure_for(error)
        assert int(row["Status"]) == failure.status, code
        assert row["Offers to try again"] == ("yes" if failure.try_again else "no"), code


def test_the_codes_of_an_invalid_state_are_those_that_its_class_names() -> None:
    said = re.findall(r"``(\w+)``", exceptions.InvalidState.__doc__ or "")
    rows = {names(row["Code"])[0] for row in table("reference/urls.md", "Failures")}
    assert {code for code in said if code != "code"} <= rows


def test_the_response_headers_are_documented() -> None:
    rows = table("reference/urls.md", "Response headers")
    documented = {names(row["Header"])[0]: names(row["Value"]) for row in rows}
    for number, carries_code in enumerate([False, True]):
        sent = dict(browser.guard(HttpResponse(), carries_code=carries_code).items())
        for name in ("Content-Type", "Expires"):  # every answer of Django's, and one for old caches
            sent.pop(name, None)
        expected = {
            name: values[min(number, len(values) - 1)] for name, values in documented.items()
        }
        assert sent == expected


def test_every_template_and_block_is_documented() -> None:
    documented = {
        names(row["Template"])[0]: names(row["Blocks"])
        for row in tables(page("how-to/change-the-pages.md"))[0]
    }
    folder = next(
        Path(path) for path in get_app_template_dirs("templates") if Path(path).parent == PACKAGE
    )
    found = {
        str(path.relative_to(folder)): re.findall(r"{% block (\w+) %}", path.read_text("utf-8"))
        for path in folder.rglob("*.html")
    }
    assert {name: sorted(blocks) for name, blocks in documented.items()} == {
        name: sorted(blocks) for name, blocks in found.items()
    }


def test_every_custom_property_is_documented() -> None:
    css = (PACKAGE / "static/connected_accounts/connected_accounts.css").read_text("utf-8")
    documented = column(table("how-to/change-the-pages.md", "Colours"), "Property")
    assert documented == list(dict.fromkeys(re.findall(r"(--ca-[a-z-]+):", css)))


# Numbers.


def quantity(text: str) -> float:
    found = re.fullmatch(r"([\d.]+) ?(\D*)", text)
    assert found is not None, f"{text!r} is no quantity"
    return float(found[1]) * UNITS[found[2]]


def limit_rows() -> list[Row]:
    return list(itertools.chain.from_iterable(tables(page("reference/limits.md"))))


def in_the_code(path: str) -> float:
    if "." not in path:
        number = conf.DEFAULTS[path]
        return float(number) * (86400 if path.endswith("_DAYS") else 1)
    module, _, name = path.rpartition(".")
    number = getattr(importlib.import_module(module), name)
    return number.total_seconds() if isinstance(number, timedelta) else float(number)


@pytest.mark.parametrize("row", limit_rows(), ids=lambda row: str(row["In the code"]).strip("`"))
def test_a_limit_is_that_of_the_code(row: Row) -> None:
    path = names(row["In the code"])[0]
    assert quantity(row["Value"]) == pytest.approx(in_the_code(path), rel=1e-9)


def test_every_limit_of_the_code_is_documented() -> None:
    constant = re.compile(r"^([A-Z][A-Z_]+): Final = (?:timedelta|[\d.])", re.MULTILINE)
    found = set()
    for path, text in sources():
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found |= {f"{module}.{name}" for name in constant.findall(text)}
    documented = set(column(limit_rows(), "In the code"))
    assert found == {name for name in documented if "." in name}
    assert {name for name in documented if "." not in name} == set(conf._LIMITS)


# All pages.


def slug(heading: str) -> str:
    """The anchor of a heading, as the documentation's builder makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_internal_links_lead_somewhere(path: Path) -> None:
    text = without_code(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.is_file(), f"{target} is no file"
        if DOCS in path.parents:
            assert DOCS in other.parents, f"{target} is not part of the site"
        if anchor:
            headings = re.findall(
                r"^#+ (.+)$", without_code(other.read_text("utf-8")), re.MULTILINE
            )
            assert anchor in map(slug, headings), f"{target}: no such heading"


def test_the_navigation_has_every_page_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"[\w/-]+\.md", navigation)) == sorted(
        str(path.relative_to(DOCS)) for path in PAGES
    )


def exists(path: str) -> bool:
    """Whether a dotted path is a module, or what is in one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_every_dotted_path_exists(path: Path) -> None:
    checks = set(column(tables(page("reference/checks.md"))[0], "Id"))
    others = checks | {task.name for task in vars(tasks).values() if hasattr(task, "apply_async")}
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"(?<![\w./-])connected_accounts(?:\.\w+)+", text)):
        assert name in others or name.endswith(".css") or exists(name), f"{name} does not exist"


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_every_check_that_is_named_exists(path: Path) -> None:
    known = {name[-4:] for name in column(tables(page("reference/checks.md"))[0], "Id")}
    assert set(re.findall(r"`([EW]\d{3})`", path.read_text("utf-8"))) <= known


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_examples_in_python_are_python(path: Path) -> None:
    for block in code_blocks(path, "python"):
        # Lines out of a dict, or out of a list.
        lines = block if re.match(r"[a-z@#]|[A-Z_]+(\[.+\])? [+=]", block) else f"{{{block}}}"
        compile(lines, str(path), "exec")


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_what_an_example_imports_is_there(path: Path) -> None:
    for block in code_blocks(path, "python"):
        for line in re.findall(r"^from connected_accounts.* import .*$", block, re.MULTILINE):
            exec(line, {})


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_example_settings_pass_the_checks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in code_blocks(path, "python"):
        if "CONNECTED_ACCOUNTS = {" not in block or "yoursite." in block:
            continue
        for name in re.findall(r'environ\["(\w+)"\]', block):
            monkeypatch.setenv(name, "value")
        made: dict[str, Any] = {"INSTALLED_APPS": []}
        exec("import os\n" + block, made)
        with override_settings(CONNECTED_ACCOUNTS=made["CONNECTED_ACCOUNTS"]):
            assert [*conf.problems(), *registry.problems()] == []


def test_the_example_of_a_provider_is_one() -> None:
    example, *_ = code_blocks(DOCS / "how-to/write-a-provider.md", "python")
    made: dict[str, Any] = {"__name__": "example"}
    exec(example, made)
    entry = {"BACKEND": "example.Medals", "CLIENT_ID": "client"}
    with override_settings(CONNECTED_ACCOUNTS={"PROVIDERS": {"medals": entry}}):
        assert list(made["Medals"].problems(conf.provider_config("medals"))) == []


# README and change log.


def test_the_readme_names_both_commands_before_anything_else() -> None:
    first = code_blocks(ROOT / "README.md", "sh")[0]
    assert first.split("\n")[:2] == ["make demo", "make test"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    used = set(
        itertools.chain.from_iterable(
            re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", path.read_text("utf-8"), re.MULTILINE)
            for path in TEXTS
        )
    )
    assert {name for pair in used for name in pair if name} <= set(targets)


def test_the_readme_is_short_and_shows_a_check_that_passed() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    (transcript,) = code_blocks(ROOT / "README.md", "text")
    assert "All of it works" in transcript


def test_every_page_begins_with_its_one_title() -> None:
    for path in PAGES:
        text = without_code(path.read_text("utf-8"))
        assert text.startswith("# "), path
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, path
