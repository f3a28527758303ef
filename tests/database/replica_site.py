"""A site with a primary database, a replica that lags behind, and a third for other apps' data: run
by ``test_other_sites.py`` in a process of its own, since databases are named before Django starts.
"""

import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

import django
import pytest
from django.conf import settings
from django.core.management import call_command

import tests.settings

APP = "connected_accounts"


class Router:
    """Reads from the replica, writes to the primary, as Django's documentation shows it."""

    asked: ClassVar[set[str]] = set()

    def db_for_read(self, model: Any, **hints: Any) -> str:
        self.asked.add(model._meta.app_label)
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return app_label != APP if db == "others" else None


def configure(folder: Path) -> None:
    values = {name: value for name, value in vars(tests.settings).items() if name.isupper()}
    base = dict(values["DATABASES"]["default"])
    values["DATABASES"] = {
        name: base | {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / name)}
        for name in ("default", "replica", "others")
    }
    values["DATABASE_ROUTERS"] = ["tests.database.replica_site.Router"]
    values["SESSION_ENGINE"] = "django.contrib.sessions.backends.signed_cookies"
    if django.VERSION < (6, 1):
        values["EMAIL_BACKEND"] = "django.core.mail.backends.locmem.EmailBackend"
    settings.configure(**values)
    django.setup()
    for name in values["DATABASES"]:
        call_command("migrate", database=name, verbosity=0)


def main(folder: Path) -> None:
    configure(folder)
    from django.contrib.auth import get_user_model
    from django.db import connections
    from django.db import router as connection_router

    from connected_accounts.exceptions import ReauthorizationRequired
    from connected_accounts.models import ConnectedAccount, Revocation
    from connected_accounts.services import disconnect, get_access_token, get_session, refresh
    from connected_accounts.tasks import refresh_due_accounts, revoke_pending_tokens
    from connected_accounts.testing import FakeProvider, connect_account

    others = set(connections["others"].introspection.table_names())
    assert not [name for name in others if name.startswith(APP)], others
    with FakeProvider("badgr") as badgr:
        user = get_user_model().objects.create_user("ada", "ada@site.example")
        account = connect_account(badgr, user)
        primary, replica = (ConnectedAccount.objects.using(n) for n in ("default", "replica"))
        assert (primary.count(), replica.count()) == (1, 0)
        # The replica has caught up, and stays behind from now on.
        connections.close_all()
        shutil.copy(folder / "default", folder / "replica")
        (folder / "replica-wal").unlink(missing_ok=True)
        stale = replica.get()
        refresh(stale)
        assert get_access_token(stale) == badgr.grants[0].access_token
        badgr.advance(days=2)
        assert get_session(stale).get("v2/backpack/assertions").status_code == 404
        badgr.advance(days=2)
        refresh_due_accounts.apply()
        assert get_access_token(stale) == badgr.grants[0].access_token
        assert len(badgr.presentations) >= 2
        assert set(badgr.presentations.values()) == {1}
        assert badgr.reuses == 0
        disconnect(account)
        revoke_pending_tokens.apply()
        assert [grant.is_alive for grant in badgr.grants] == [False]
        assert Revocation.objects.using("default").get().outcome == "revoked"
        assert replica.count() == 1
        with pytest.raises(ReauthorizationRequired, match="disconnected"):
            get_access_token(stale)
        decide_by_the_primary(badgr, user)
    [router] = connection_router.routers  # made of this module under its own name
    assert "auth" in router.asked  # of what is not ours a router decides
    assert APP not in router.asked
    sys.stdout.write("done\n")


def decide_by_the_primary(badgr: Any, user: Any) -> None:
    """What is new on the primary, and nowhere else."""
    from django.core import mail
    from django.test import Client, override_settings
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount, ProviderClient, Reason
    from connected_accounts.operations.notices import mail_owner
    from connected_accounts.refresh.drain import drain
    from connected_accounts.testing import connect_account

    site = Client()
    site.force_login(user)
    first = connect_account(badgr, user, subject="first")
    page = f"/connections/{first.pk}/disconnect/"
    assert site.get(page).status_code == 200
    assert first.label in site.get("/connections/").content.decode()
    # Two client ids, neither in settings any more.
    own = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]
    for client_id in (own["CLIENT_ID"], "another"):
        badgr.add_client(client_id, own["CLIENT_SECRET"])
        enter(client_id, own["CLIENT_SECRET"])
    entered = ProviderClient.objects.filter(provider="badgr")
    assert entered.count() == 2
    providers = {"badgr": own | {"CLIENT_ID": "", "CLIENT_SECRET": ""}}
    with override_settings(CONNECTED_ACCOUNTS={"PROVIDERS": providers}):
        second = connect_account(badgr, user, subject="second")
        assert second.client_id == "another" != first.client_id
        ConnectedAccount.objects.update(refresh_at=timezone.now())
        assert vars(drain("badgr")) == {"refreshed": 2, "failed": 0}
    first.refresh_from_db()
    assert first.mark_reconnect_required(Reason.REVOKED)
    base = {"REDIRECT_BASE_URL": "https://app.example.org"}
    with override_settings(CONNECTED_ACCOUNTS=settings.CONNECTED_ACCOUNTS | base):
        assert mail_owner(first.pk, first.generation)
    assert [message.to for message in mail.outbox] == [[user.email]]
    assert site.post(page).status_code == 303
    assert not ConnectedAccount.objects.filter(pk=first.pk).exists()


def enter(client_id: str, secret: str) -> None:
    """Enter a pair, as an admin does."""
    from django.utils import timezone

    from connected_accounts.models import ProviderClient
    from connected_accounts.secret import Secret

    row = ProviderClient(provider="badgr", client_id=client_id, created_at=timezone.now())
    row.client_secret = row.sealed(Secret(secret))
    row.save()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
