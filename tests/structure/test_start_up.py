"""Every process that starts pays for what the app loads: no more than tables and admin need."""

import json
import subprocess
import sys

import pytest
from django.apps import apps as django_apps
from django.core.checks.registry import registry

from connected_accounts import apps, checks
from tests.docs.doc_pages import ROOT

SET_UP = """
import json, sys
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, CONNECTED_ACCOUNTS={"PROVIDERS": {}},
    FIELD_ENCRYPTION_KEY=["b25seS1mb3ItdGhlLWJlbmNobWFya3MtMDEyMzQ1Njc="],
    INSTALLED_APPS=["connected_accounts"] + [
        f"django.contrib.{name}"
        for name in ("admin", "auth", "contenttypes", "messages", "sessions")
    ],
)
import django
django.setup()
print(json.dumps(sorted(sys.modules)))
"""
NOT_YET = (
    "celery",
    "requests",
    "cryptography.x509",
    "connected_accounts.checks",
    "connected_accounts.clients",
    "connected_accounts.operations.health",
    "connected_accounts.oauth2",
    "connected_accounts.providers",
    "connected_accounts.provider_state",
    "connected_accounts.refresh",
    "connected_accounts.revoke",
    "connected_accounts.tokens",
    "connected_accounts.use",
    "connected_accounts.web",
    "django.contrib.admin.views.main",
    "django.contrib.auth.views",
)
CHECKS = (*apps.CHECKS, *apps.DEPLOY_CHECKS, *apps.DATABASE_CHECKS)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that ``django.setup()`` loads, with the admin."""
    run = subprocess.run(
        [sys.executable, "-c", SET_UP], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("name", NOT_YET)
def test_start_up_does_not_load_what_is_not_needed(name: str, loaded: set[str]) -> None:
    assert name not in loaded
    assert "connected_accounts.models" in loaded


@pytest.mark.parametrize("name", CHECKS)
def test_a_registered_check_is_called_when_the_checks_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in CHECKS:
        monkeypatch.setattr(checks, other, lambda *args, **kwargs: [])
    monkeypatch.setattr(checks, name, lambda *args, **kwargs: [name])
    known = registry.get_checks(include_deployment_checks=True)
    ours = [check for check in known if check.__module__ == apps.__name__]
    assert [found for check in ours for found in check(None, databases=None)] == [name]


def test_an_app_that_becomes_ready_again_checks_everything_once() -> None:
    before = registry.get_checks(include_deployment_checks=True)
    django_apps.get_app_config("connected_accounts").ready()
    assert len(registry.get_checks(include_deployment_checks=True)) == len(before)
