"""A page's examples in Python, run in their order as one program.

What a block is, is told by what it does: settings go through the system checks, views are called,
an ``AppConfig`` is made ready, URLs are looked up. A block whose title names a file is that file
of the site ``yoursite``, and what comes later on the page can import it.
"""

import ast
import copy
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from celery.app.defaults import SETTING_KEYS as CELERY_KEYS
from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import global_settings, settings
from django.contrib.admin import ModelAdmin, site
from django.contrib.auth import get_user_model
from django.core.cache import CacheHandler
from django.core.checks import run_checks
from django.db.utils import ConnectionHandler
from django.test import override_settings
from django.urls import URLPattern, URLResolver
from django.views import View

from connected_accounts import conf
from connected_accounts.sealing import encryption_keys
from tests.docs.doc_pages import Block
from tests.journeys import run

GENERIC = {
    "BACKEND": "connected_accounts.providers.generic.OAuth2",
    "CLIENT_ID": "client",
    "CLIENT_SECRET": "secret",
}
# What a settings module has before the lines that a page shows.
BEFORE = (
    *("INSTALLED_APPS", "MIDDLEWARE", "DATABASES", "CACHES", "CELERY_BEAT_SCHEDULE"),
    "CONNECTED_ACCOUNTS",
)
# Settings of others that Django does not know.
OF_OTHERS = ("CONNECTED_ACCOUNTS", "FIELD_ENCRYPTION_KEY", "REST_FRAMEWORK")


class Page:
    """``given`` are the names an example may use without saying where they come from; a function
    is called with those that its parameters name. ``setenv`` sets a variable of the environment,
    ``changed`` are the settings of one test."""

    def __init__(
        self,
        folder: Path,
        given: Mapping[str, Any],
        *,
        setenv: Callable[[str, str], None],
        changed: Any,
    ) -> None:
        self.folder, self.given, self.setenv, self.settings = folder, given, setenv, changed
        self.names: dict[str, Any] = {"__name__": "example", **given}

    def run(self, block: Block) -> None:
        for name in re.findall(r"environ(?:\.get\(|\[)[\"'](\w+)", block.text):
            self.setenv(name, self._variable(name))
        name = Path(block.title).name
        if name.endswith(".py") and name != "settings.py":  # which is shown in part
            write(self.folder, block)
            if not name.startswith(("test_", "conftest")):
                self._use(block, vars(imported(block.title)))
        elif block.text.startswith('"'):
            check_settings({"CONNECTED_ACCOUNTS": whole(eval(f"{{{block.text}}}", {"os": os}))})
        else:
            names = self.names | {name: copy.deepcopy(getattr(settings, name)) for name in BEFORE}
            names["INSTALLED_APPS"].remove("connected_accounts")
            exec(compile(block.text, str(block), "exec"), names)
            self._use(block, names)

    def _variable(self, name: str) -> str:
        if name.endswith("_URL"):
            return "redis://127.0.0.1:6379"
        key = Fernet.generate_key().decode()
        if name.endswith("_FILE"):
            path = self.folder / name
            path.write_text(f"{key}\n{Fernet.generate_key().decode()}\n")
            return str(path)
        return key if name.endswith("_KEY") else "value"

    def _use(self, block: Block, names: Mapping[str, Any]) -> None:
        made = made_by(block.text)
        if any(name.isupper() for name in made):
            check_settings({name: names[name] for name in made if name.isupper()})
        if not {*names.get("INSTALLED_APPS", ())} <= {*settings.INSTALLED_APPS}:
            self.settings.INSTALLED_APPS = [*names["INSTALLED_APPS"], "connected_accounts"]
        if "OWNERS" in names.get("CONNECTED_ACCOUNTS", {}):
            self.settings.CONNECTED_ACCOUNTS = names["CONNECTED_ACCOUNTS"]
        for name in made:
            made_here = names[name]
            if name == "urlpatterns":
                for pattern in made_here:
                    if isinstance(pattern, URLPattern):
                        answered(pattern.callback(self.given["request"]))
                    else:
                        assert isinstance(pattern, URLResolver), pattern
            elif inspect.isfunction(made_here):
                self._call(made_here)
            elif inspect.isclass(made_here):
                self._try(made_here)
        self.names |= {name: value for name, value in names.items() if name not in BEFORE}

    def _call(self, function: Callable[..., Any]) -> None:
        wanted = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD and parameter.default is parameter.empty
        ]
        answered(function(**{name: self.given[name] for name in wanted}))

    def _try(self, kind: type[Any]) -> None:
        """Do with a class what Django or logging would do with it."""
        if issubclass(kind, View):
            answered(kind.as_view()(self.given["request"]))
        elif issubclass(kind, AppConfig):
            module = ModuleType(kind.name)
            module.__path__ = [str(self.folder)]
            kind(kind.name, module).ready()
        elif issubclass(kind, ModelAdmin):
            assert kind(get_user_model(), site).check() == []
        else:
            names = {base.__module__.split(".")[0] for base in kind.__mro__[1:]}
            assert "connected_accounts" in names, f"no test knows what to do with {kind}"


def answered(given: Any) -> None:
    """If it is a response, it is a good one."""
    answer = run(given) if inspect.iscoroutine(given) else given
    assert getattr(answer, "status_code", 200) == 200, answer
    if hasattr(answer, "render"):
        answer.render()


def made_by(text: str) -> list[str]:
    """The names that a program assigns or defines at its top."""
    found = []
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign | ast.AugAssign):
            first = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            found.append(next(n.id for n in ast.walk(first) if isinstance(n, ast.Name)))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(statement.name)
    return list(dict.fromkeys(found))


def write(folder: Path, block: Block) -> Path:
    """Put a block into the file that its title names."""
    path = folder / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".py":
        for parent in [*path.relative_to(folder).parents][:-1]:
            (folder / parent / "__init__.py").touch()
    path.write_text(block.text, encoding="utf-8")
    return path


def imported(title: str) -> ModuleType:
    importlib.invalidate_caches()
    name = ".".join(Path(title).with_suffix("").parts)
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def whole(lines: Mapping[str, Any]) -> Mapping[str, Any]:
    """``CONNECTED_ACCOUNTS`` around lines that stand somewhere within."""
    if lines.keys() <= conf.DEFAULTS.keys():
        return lines
    if lines.keys() <= conf.PROVIDER_DEFAULTS.keys():
        badgr = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]
        lines = {"example": (GENERIC if "OPTIONS" in lines else badgr) | lines}
    return {"PROVIDERS": lines}


def check_settings(values: Mapping[str, Any]) -> None:
    """Settings that a page shows are ones, and the system checks find nothing to say."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name == "DATABASES":
            ConnectionHandler(value)["default"].get_connection_params()
        elif name == "CACHES":
            CacheHandler(value)["default"]
        elif name == "INSTALLED_APPS":
            assert all(AppConfig.create(app) for app in value)
        elif name.startswith("CELERY_"):
            assert name.removeprefix("CELERY_").lower() in CELERY_KEYS, name
        elif hasattr(global_settings, name) or name in OF_OTHERS:
            changed[name] = value
        else:  # what to write as OPTIONS
            assert isinstance(value, dict), f"{name} is no setting"
            entry = GENERIC | {"OPTIONS": value}
            changed["CONNECTED_ACCOUNTS"] = {"PROVIDERS": {name.lower(): entry}}
    with override_settings(**changed):
        assert encryption_keys()
        assert run_checks() == []
