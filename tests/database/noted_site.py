"""A site that extends the account by multi-table inheritance, run by ``test_user_models.py`` in a
process of its own: python -m tests.database.noted_site URL, on an empty database.
"""

import sys

from django.core.management import call_command

from tests.database.site_of_its_own import configure


def main(url: str) -> None:
    configure(url, "members", "Person")
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth import get_user_model
    from django.db import connection, models
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount, Event, Revocation
    from connected_accounts.services import (
        disconnect,
        get_access_token,
        get_session,
        move_to_owner,
        refresh,
    )
    from connected_accounts.testing import FakeProvider, connect_account

    class Noted(ConnectedAccount):
        note = models.CharField(max_length=30)

        class Meta:
            app_label = "members"

    with connection.schema_editor() as editor:
        editor.create_model(Noted)
    people = get_user_model().objects
    one, other = people.create(username="one"), people.create(username="other")
    with FakeProvider("badgr") as badgr:
        connected = connect_account(badgr, one, subject="a-at-badgr")
        Noted(connectedaccount_ptr=connected, note="mine").save_base(raw=True)
        account = Noted.objects.get()
        before = get_access_token(account)
        refresh(account)
        assert account.refreshed_at is not None
        assert get_access_token(account) != before
        ConnectedAccount.objects.update(expires_at=timezone.now())
        with get_session(account) as session:
            assert session.get("v2/users/self").status_code == 200
        move_to_owner(account, other)
        assert account.user == other
        owed = disconnect(account, by=one)
        assert owed == Revocation.objects.get()
        assert Event.objects.get(kind="disconnected").detail == f"user:{one.pk}"
        assert not ConnectedAccount.objects.exists()
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
