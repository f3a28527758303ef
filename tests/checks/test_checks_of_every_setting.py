"""No setting without a check: each, given something wrong, is named with what to write instead."""

import re
import subprocess
import sys
from typing import Any

import pytest
from django.core import checks

from connected_accounts import conf
from connected_accounts.schedule import BEAT_SCHEDULE
from tests.docs.doc_pages import ROOT, column, table

GOOD = {
    "BACKEND": "connected_accounts.providers.badgr.Badgr",
    "CLIENT_ID": "client",
    "CLIENT_SECRET": "client-secret",
}
# Of a type that no setting is of, and what is often written by mistake.
NO_TYPE = object()
MISTAKES: dict[str, list[Any]] = {
    "PROVIDERS": ["badgr", ["badgr"]],
    "SITE_ID": [1, ("production",)],
    "REDIRECT_BASE_URL": ["app.example.org", "http://app.example.org", ["https://x.example"]],
    "STATE_MAX_AGE": ["600", 0],
    "HTTP_TIMEOUT": ["10", -1],
    "HTTP_DEADLINE": ["30", 0],
    "REFRESH_AT": ["0.66", 66],
    "REFRESH_CONCURRENCY": ["32", 0],
    "REVOKE_GIVE_UP_AFTER": ["30 days", -1],
    "EVENT_RETENTION_DAYS": ["90", -1],
    "PREPARE_CONNECTION": ["nowhere.prepare", "", ["nowhere.prepare"]],
    "RECONNECT_MAIL": ["yes", 1, True],  # the last for want of REDIRECT_BASE_URL
    "OWNERS": ["nowhere.owners_of", "", ["nowhere.owners_of"]],
    "BACKEND": ["badgr", ""],
    "SERVICE": ["github", 17],
    "CLIENT_ID": [17, ("client",)],
    "CLIENT_SECRET": [17, ("secret",)],
    "CLIENT_KEY": [17, "no key", [17], {"kty": "oct", "k": "c2VjcmV0"}],
    "CLIENT_CERTIFICATE": [17, "/nowhere.pem", ["/nowhere.pem"], ("/no.crt", "/no.key")],
    "SCOPES": ["r:profile", [1]],
    "OPTIONAL_SCOPES": ["r:profile", None],
    "OPTIONS": ["eu", {"regoin": "eu"}],
    "EXCLUSIVE": ["yes", 1],
    "MAX_ACCOUNTS": [None, 0, 1.5, True, "5", 10_001],
    "REFRESH_POLICY": ["never", True],
    "MAX_REQUESTS_PER_SECOND": ["5", 0],
}
CASES = [(name, value) for name, values in MISTAKES.items() for value in [*values, {"a": NO_TYPE}]]


def wrong(settings: Any, name: str, value: Any) -> list[checks.CheckMessage]:
    settings.CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
    if name in conf.DEFAULTS:
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": GOOD}, name: value}
    else:
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": {**GOOD, name: value}}}
    return checks.run_checks(tags=["connected_accounts"])


def test_every_setting_has_its_mistakes_here() -> None:
    assert set(MISTAKES) == set(conf.DEFAULTS) | set(conf.PROVIDER_DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)]
)
def test_a_wrong_value_is_an_error_that_names_the_setting(
    name: str, value: Any, settings: Any
) -> None:
    found = [m for m in wrong(settings, name, value) if m.level >= checks.ERROR]
    assert found, f"nothing is said of {name} = {value!r}"
    assert name in found[0].msg or (name == "PROVIDERS" and "'a'" in found[0].msg)
    assert re.match(r"[A-Z]\w+ .*\.$", str(found[0].hint)), (
        "a hint is a sentence that says what to do"
    )
    assert "secret" not in found[0].msg.replace("CLIENT_SECRET", "").lower()


# Settings of others, which the page of settings lists.


def test_the_settings_of_others_are_held_below_or_by_their_owners() -> None:
    ours = {"FIELD_ENCRYPTION_KEY", "CELERY_BEAT_SCHEDULE"}
    djangos = {"LOGIN_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}
    listed = column(table("reference/settings.md", "Settings of others"), "Setting")
    assert set(listed) == ours | djangos


def test_a_schedule_without_our_tasks_is_warned_of(settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": GOOD}}
    settings.CELERY_BEAT_SCHEDULE = {"other": {"task": "other", "schedule": 60}}
    found = checks.run_checks(tags=["connected_accounts"])
    assert [message.id for message in found] == ["connected_accounts.W001"]


@pytest.mark.parametrize("key", ['""', "None", "5", '["too short"]', "[]"])
def test_a_bad_encryption_key_stops_the_start_and_says_how_to_make_one(key: str) -> None:
    code = f"""
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", FIELD_ENCRYPTION_KEY={key},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "connected_accounts"],
)
django.setup()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode != 0
    said = done.stderr.partition("ImproperlyConfigured: ")[2]
    assert "FIELD_ENCRYPTION_KEY" in said
    assert "Fernet" in said
    assert "too short" not in said
