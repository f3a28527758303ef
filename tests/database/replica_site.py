"""A site with a primary database, a replica that lags behind, and a third for other apps' data: run
by ``test_other_sites.py`` in a process of its own, since databases are named before Django starts.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command

import tests.settings

APP = "connected_accounts"


class Router:
    """Reads from the replica, writes to the primary, as Django's documentation shows it."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
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
    settings.configure(**values)
    django.setup()
    for name in values["DATABASES"]:
        call_command("migrate", database=name, verbosity=0)


def main(folder: Path) -> None:
    configure(folder)
    from django.contrib.auth import get_user_model
    from django.db import connections

    from connected_accounts.exceptions import ReauthorizationRequired
    from connected_accounts.models import ConnectedAccount, Revocation
    from connected_accounts.services import disconnect, get_access_token, get_session, refresh
    from connected_accounts.tasks import refresh_due_accounts, revoke_pending_tokens
    from connected_accounts.testing import FakeProvider, connect_account

    others = set(connections["others"].introspection.table_names())
    assert not [name for name in others if name.startswith(APP)], others
    with FakeProvider("badgr") as badgr:
        user = get_user_model().objects.create_user("ada")
        account = connect_account(badgr, user)
        primary, replica = ConnectedAccount.objects.using("default"), ConnectedAccount.objects
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
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
