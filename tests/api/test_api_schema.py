"""The OpenAPI file as a tool of others reads it: schemathesis makes requests from it, good and bad,
and each answer must be a documented one. Against the site itself, signed in, with CSRF on."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from tests.api.openapi import DOCUMENT, PREFIX

EXAMPLES = 25
KNOWN: dict[str, Any] = {"id": 4711, "alias": "badgr"}


def leading_somewhere() -> dict[str, Any]:
    """The document, so that many of the addresses that are made from it are Ada's."""
    document = deepcopy(DOCUMENT)
    for item in document["paths"].values():
        for parameter in item.get("parameters", []):
            schema = parameter["schema"]
            parameter["schema"] = {"anyOf": [{"const": KNOWN[parameter["name"]]}, schema]}
    return document


# Session and token are the browser's, below; a signed-out one is looked at in test_api.
GENERATED = GenerationConfig(with_security_parameters=False)
CONFIG = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=GENERATED)))
SCHEMA = schemathesis.openapi.from_dict(leading_somewhere(), config=CONFIG)
SCHEMA.app = WSGIHandler()
# What is valid by form may still be refused by name: a scope, a team, an input that is none here.
LEFT_OUT = [CHECKS.get_one(name) for name in ("ignored_auth", "positive_data_acceptance")]


@pytest.fixture
def browser(ada: Any, badgr: FakeProvider, unlimited: None) -> Iterator[dict[str, Any]]:
    """What comes with each request of the browser in which Ada is signed in. The site stays on the
    test's database connection, as it does for Django's own test client."""
    client = Client()
    client.force_login(ada)
    token = client.get(f"{PREFIX}/accounts/")["X-CSRFToken"]
    cookies = {name: cookie.value for name, cookie in client.cookies.items()}
    both = (request_started, request_finished)
    for signal in both:
        signal.disconnect(close_old_connections)
    yield {"headers": {"X-CSRFToken": token}, "cookies": cookies}
    for signal in both:
        signal.connect(close_old_connections)


@pytest.fixture
def statuses() -> Iterator[set[int]]:
    """Of all answers: at least one must be none of the problems."""
    seen: set[int] = set()
    yield seen
    assert seen & {200, 201}
    assert 401 not in seen


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.django_db
def test_every_answer_is_a_documented_one(
    case: schemathesis.Case,
    browser: dict[str, Any],
    statuses: set[int],
    make_account: Callable[..., Any],
    ada: Any,
) -> None:
    if not ConnectedAccount.objects.filter(pk=KNOWN["id"]).exists():  # else disconnected before
        make_account(ada, id=KNOWN["id"])
    answer = case.call_and_validate(excluded_checks=LEFT_OUT, **browser)
    statuses.add(answer.status_code)
