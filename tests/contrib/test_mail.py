"""The e-mail that says that a connection needs its owner."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.utils.translation import override

from connected_accounts import tasks
from connected_accounts.contrib.mail import send_reconnect_mail
from connected_accounts.models import ConnectedAccount
from connected_accounts.operations.notices import ServiceAway, mail_owner
from connected_accounts.provider_state import outages
from connected_accounts.provider_state.pauses import get_or_create_state, resume
from connected_accounts.services import refresh
from connected_accounts.signals import reconnect_required
from connected_accounts.testing import FakeProvider
from tests.journeys import set_row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def opted_in(app_settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is made, and what is sent is done at once."""
    app_settings(REDIRECT_BASE_URL="https://site.example", RECONNECT_MAIL=True)
    monkeypatch.setattr(tasks, "enqueue", lambda task, *args: task.apply(args))


@pytest.fixture
def own_receiver(app_settings: Any) -> Iterator[Any]:
    """Connects a receiver of the site's, in place of the setting."""
    app_settings(RECONNECT_MAIL=False)
    receivers: list[Any] = []

    def connect(receiver: Any) -> None:
        receivers.append(receiver)
        reconnect_required.connect(receiver)

    yield connect
    for receiver in receivers:
        reconnect_required.disconnect(receiver)


def end(account: ConnectedAccount, badgr: FakeProvider) -> None:
    badgr.withdraw()
    with pytest.raises(Exception, match="connect"):
        refresh(account)


def test_the_owner_gets_one_mail_with_a_link_in_text_and_html(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    end(account, badgr)
    (sent,) = mail.outbox
    assert sent.to == ["ada@site.example"]
    assert sent.subject == "Please reconnect Badgr"
    link = f"https://site.example/connections/{account.pk}/reconnect/"
    assert link in sent.body
    assert "the service says that the permission has ended" in sent.body
    html, kind = sent.alternatives[0]
    assert kind == "text/html"
    assert f'href="{link}"' in str(html)
    assert not [secret for secret in badgr.secrets if secret in f"{sent.body}{html}"]


def test_without_the_setting_nobody_is_written_to(
    account: ConnectedAccount, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(RECONNECT_MAIL=False)
    end(account, badgr)
    assert mail.outbox == []


def test_the_setting_and_a_receiver_send_one_mail(
    account: ConnectedAccount, badgr: FakeProvider, app_settings: Any, own_receiver: Any
) -> None:
    app_settings(RECONNECT_MAIL=True)
    own_receiver(send_reconnect_mail)
    end(account, badgr)
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    ("language", "subject", "why"),
    [
        ("fr", "Reconnectez Badgr", "le service indique que l’autorisation"),
        ("de-at", "Bitte Badgr erneut verbinden", "die Berechtigung gilt laut dem Dienst"),
        ("tlh", "Please reconnect Badgr", "the service says that"),
        ("../../etc", "Please reconnect Badgr", "the service says that"),
    ],
)
def test_a_receiver_of_the_site_says_in_which_language(
    account: ConnectedAccount,
    badgr: FakeProvider,
    own_receiver: Any,
    language: str,
    subject: str,
    why: str,
) -> None:
    def tell_owner(sender: Any, account: ConnectedAccount, **kwargs: Any) -> None:
        send_reconnect_mail(sender, account, language=language)

    own_receiver(tell_owner)
    with override("es"):  # whoever's request it is
        end(account, badgr)
    (sent,) = mail.outbox
    assert sent.subject.startswith(subject)
    assert why in sent.body
    assert why in str(sent.alternatives[0][0])


def test_without_a_language_it_is_the_sites_own(
    account: ConnectedAccount, badgr: FakeProvider, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "de"
    with override("es"):
        end(account, badgr)
    assert mail.outbox[0].subject.startswith("Bitte Badgr")


def test_the_same_incident_is_told_of_once(account: ConnectedAccount, badgr: FakeProvider) -> None:
    end(account, badgr)
    row = ConnectedAccount.objects.get()
    tasks.mail_reconnect.apply((row.pk, row.generation))
    assert len(mail.outbox) == 1
    set_row(row, generation=row.generation + 1)
    tasks.mail_reconnect.apply((row.pk, row.generation))
    assert len(mail.outbox) == 2


def test_an_outage_sends_none_and_a_mail_waits_for_its_end(
    account: ConnectedAccount, badgr: FakeProvider, now: Any
) -> None:
    badgr.unavailable()
    with pytest.raises(Exception, match="not answering"):
        refresh(account)
    assert mail.outbox == []
    set_row(account, status="reconnect_required", reason="revoked")
    get_or_create_state("badgr")
    outages.suspend("badgr", now=now)
    with pytest.raises(ServiceAway):
        mail_owner(account.pk, account.generation)
    resume("badgr")
    assert mail_owner(account.pk, account.generation)


@pytest.mark.parametrize(
    "row",
    [
        {"status": "active", "reason": ""},
        {"user": None},
    ],
)
def test_nobody_is_told_what_is_no_longer_so(account: ConnectedAccount, row: Any) -> None:
    set_row(account, **{"status": "reconnect_required", "reason": "revoked", **row})
    assert not mail_owner(account.pk, account.generation)
    assert not mail_owner(account.pk, account.generation + 1)
    assert mail.outbox == []


def test_without_an_address_of_the_site_there_is_no_mail(
    account: ConnectedAccount, app_settings: Any
) -> None:
    set_row(account, status="reconnect_required", reason="revoked")
    app_settings(REDIRECT_BASE_URL=None, RECONNECT_MAIL=False)
    assert not mail_owner(account.pk, account.generation)


def test_a_site_without_our_pages_is_where_the_links_lead(
    account: ConnectedAccount, badgr: FakeProvider, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.bare_urls"
    end(account, badgr)
    (sent,) = mail.outbox
    assert re.findall(r"^https.*$", sent.body, re.MULTILINE) == ["https://site.example/"] * 2


def test_a_mail_that_could_not_be_sent_may_be_tried_again(
    account: ConnectedAccount, monkeypatch: pytest.MonkeyPatch, client_of_ada: Client
) -> None:
    set_row(account, status="reconnect_required", reason="revoked")

    def refuse(*args: Any) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refuse)
        with pytest.raises(ConnectionRefusedError):
            mail_owner(account.pk, account.generation)
    assert mail_owner(account.pk, account.generation)
