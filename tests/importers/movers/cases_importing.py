"""What becomes of connections that the other packages made by themselves."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialToken
from django.core.management import CommandError
from django.test import override_settings
from django.utils import timezone
from oauth2_capture.models import OAuthToken
from social_django.models import UserSocialAuth

from bench.stub import LIFE, token
from connected_accounts.database.functions import subject_digest
from connected_accounts.importers import run as importer_run
from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.services import refresh
from tests.importers.movers.site import MAKE, SOURCES, person, plaintext, run

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("source", SOURCES)]


def only() -> ConnectedAccount:
    return ConnectedAccount.objects.with_token().get()


def test_a_connection_is_imported_with_all_that_was_known_of_it(source: str) -> None:
    began = timezone.now()
    row = MAKE[source](person(), 7)
    run(source)
    account = only()
    assert account.user == person()
    assert (account.owner_key, account.provider) == (f"user:{person().pk}", "gitea")
    assert (account.subject, account.subject_digest) == ("7", subject_digest("7"))
    document = account.open_token()
    assert document["access_token"] == token("a", 7, 0)
    assert document["refresh_token"] == token("r", 7, 0)
    assert account.label in ("u7@provider.example", "u7", "")
    assert account.label or source == "social-auth"
    assert account.expires_at is not None
    assert abs(account.expires_at - began - timedelta(seconds=LIFE)) < timedelta(minutes=2)
    if source != "social-auth":  # which keeps a life in seconds
        assert account.expires_at == row.expires_at
    assert began < account.refresh_at < account.expires_at
    assert account.scopes_granted == ([] if source != "oauth2-capture" else ["read", "write"])
    assert account.connected_at >= began - timedelta(seconds=1)
    assert (account.client_id, account.status) == ("mover-client", "active")
    event = Event.objects.get()
    assert (event.kind, event.detail) == ("connected", f"imported from {source}")


def test_an_imported_connection_is_refreshed_at_the_provider(source: str) -> None:
    MAKE[source](person(), 7)
    run(source)
    account = only()
    refresh(account)
    assert only().open_token()["access_token"] == token("a", 7, 1)


def test_running_again_imports_nothing_twice_and_overwrites_nothing(source: str) -> None:
    MAKE[source](person(), 7)
    run(source)
    refresh(only())
    MAKE[source](person("bob"), 8)
    said = run(source)
    assert "gitea: 1 imported" in said
    assert "gitea: 1 skipped: its owner has this account here already" in said
    kept = {row.subject: row for row in ConnectedAccount.objects.with_token()}
    assert kept["7"].open_token()["access_token"] == token("a", 7, 1)
    assert set(kept) == {"7", "8"}


def test_an_interrupted_run_goes_on_where_it_stopped(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        MAKE[source](person(f"person-{number}"), number)
    monkeypatch.setattr(importer_run, "BATCH", 2)
    figures = importer_run.import_connections(importer_run.SOURCES[source]())
    next(figures)
    next(figures)
    figures.close()
    assert ConnectedAccount.objects.count() == 2
    said = run(source, "--verbosity", "2")
    assert [line for line in said.splitlines() if "rows read" in line][:3] == [
        "0 rows read",
        "2 rows read",
        "4 rows read",
    ]
    assert "gitea: 3 imported" in said
    assert ConnectedAccount.objects.count() == Event.objects.count() == 5


def test_somebody_who_connects_during_the_run_keeps_their_connection(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKE[source](person(), 7)
    MAKE[source](person("bob"), 8)
    run(source)
    ConnectedAccount.objects.filter(subject="8").delete()
    Event.objects.all().delete()
    monkeypatch.setattr(importer_run, "_present", lambda made: set())  # not seen yet
    said = run(source)
    assert "gitea: 1 imported" in said
    assert "gitea: 1 skipped: its owner has this account here already" in said
    assert [event.subject for event in Event.objects.all()] == ["8"]


def test_a_dry_run_counts_and_changes_nothing(source: str) -> None:
    MAKE[source](person(), 7)
    before = plaintext(source)
    said = run(source, "--dry-run", "--blank")
    assert "gitea: 1 would be imported" in said
    assert "blanked" not in said
    assert (ConnectedAccount.objects.count(), Event.objects.count()) == (0, 0)
    assert plaintext(source) == before


def test_a_dry_run_after_an_import_says_what_is_here_already(source: str) -> None:
    MAKE[source](person(), 7)
    run(source)
    said = run(source, "--dry-run")
    assert "would be imported" not in said
    assert "gitea: 1 skipped: its owner has this account here already" in said


def test_names_are_mapped_and_scopes_said(source: str, settings: Any) -> None:
    MAKE[source](person(), 7)
    entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["gitea"]
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"forge": entry}}
    assert "gitea: 1 skipped: settings have no such provider" in run(source)
    assert "forge: 1 imported" in run(source, "--provider", "gitea=forge", "--scope", "read")
    granted = ["read", "write"] if source == "oauth2-capture" else ["read"]
    assert (only().provider, only().scopes_granted) == ("forge", granted)


# --- The plain text


def test_the_plain_text_is_blanked_behind_a_stored_connection(source: str) -> None:
    row = MAKE[source](person(), 7)
    said = run(source, "--blank", "--no-input")
    assert "blanked: 1" in said
    assert plaintext(source) == []
    row.refresh_from_db()
    if source == "social-auth":
        assert row.extra_data["auth_time"]
        assert "token" not in str(row.extra_data).replace("token_type", "")
    assert only().open_token()["refresh_token"] == token("r", 7, 0)
    assert "gitea: 1 skipped: there is no access token in it" in run(source)


def test_what_an_earlier_run_imported_is_blanked_by_a_later_one(source: str) -> None:
    MAKE[source](person(), 7)
    run(source)
    refresh(only())  # so that the tokens are not those that were read
    assert "blanked: 1" in run(source, "--blank", "--no-input")
    assert plaintext(source) == []


def test_nothing_is_blanked_that_was_not_imported(source: str) -> None:
    MAKE[source](person(), 7)
    MAKE[source](person("bob"), 8)
    MAKE[source](person("eve"), 9)
    run(source)
    Event.objects.exclude(subject="9").delete()
    refresh(ConnectedAccount.objects.get(subject="7"))  # as if connected here, not imported
    ConnectedAccount.objects.filter(subject="8").transition(token=None)  # lost
    damaged = f"v1.00000000.{'x' * 60}"  # imported, and its key is gone
    ConnectedAccount.objects.filter(subject="9").transition(token=damaged)
    assert "blanked: 0" in run(source, "--blank", "--no-input")
    assert len(plaintext(source)) == 6


def test_a_token_that_was_written_since_it_was_read_is_not_blanked(source: str) -> None:
    row = MAKE[source](person(), 7)
    reader = importer_run.SOURCES[source]()
    grants = reader.batch(None, 10)
    if source == "allauth":
        row.token = "newer"
    elif source == "social-auth":
        row.extra_data["access_token"] = "newer"
    else:
        row.access_token = "newer"
    row.save()
    assert reader.blank(grants) == 0
    assert "newer" in plaintext(source)


def test_blanking_asks_first(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKE[source](person(), 7)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError, match="Nothing was done"):
        run(source, "--blank")
    assert ConnectedAccount.objects.count() == 0
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert "blanked: 1" in run(source, "--blank")


def test_no_token_is_shown_or_logged(source: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="connected_accounts")
    MAKE[source](person(), 7)
    grant = importer_run.SOURCES[source]().batch(None, 1)[0]
    caplog.clear()
    said = run(source, "--blank", "--no-input") + repr(grant) + caplog.text
    assert "imported" in caplog.text
    assert token("a", 7, 0)[:10] not in said
    assert token("r", 7, 0)[:10] not in said


def test_a_package_that_is_not_installed_is_named(source: str, settings: Any) -> None:
    app = importer_run.SOURCES[source].app
    apps = [name for name in settings.INSTALLED_APPS if not name.startswith(app)]
    with override_settings(INSTALLED_APPS=apps), pytest.raises(CommandError, match=app):
        run(source)


def test_the_packages_wrote_the_rows(source: str) -> None:
    """So that the cases above are about what a site really has."""
    row = MAKE[source](person(), 7)
    if source == "allauth":
        assert isinstance(row, SocialToken)
        assert row.app.client_id == "mover-client"
    elif source == "social-auth":
        assert isinstance(row, UserSocialAuth)
        assert {"auth_time", "access_token", "refresh_token"} <= set(row.extra_data)
    else:
        assert isinstance(row, OAuthToken)
        assert row.profile_json["login"] == row.name == "u7"
        assert row.access_token == token("a", 7, 0)
