"""A site with a user model of ``members``, run by ``test_user_models.py`` in a process of its own:
python -m tests.database.members_site URL MODEL, on an empty database.
"""

import sys

from django.core.management import call_command

from tests.database.site_of_its_own import configure

OWN_KEYS = {"Coded": {"code": "c-2"}, "Named": {"id": 7}}


def main(url: str, model: str) -> None:
    configure(url, "members", model)
    call_command("migrate", run_syncdb=True, verbosity=0)
    import pytest
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from connected_accounts.exceptions import ProviderUnavailable
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token, get_access_token_of
    from connected_accounts.tasks import refresh_due_accounts
    from connected_accounts.testing import FakeProvider, connect_account

    users = get_user_model().objects
    users.create(username="another")
    user = users.create(username="one", **OWN_KEYS.get(model, {}))
    if model == "Public":
        user = users.get(pk=user.pk)
        assert user.pk == "u-2"
    with FakeProvider("badgr") as badgr:
        account = connect_account(badgr, user, subject="a-at-badgr")
        token = get_access_token(account)
        assert get_access_token_of(user, "badgr") == token
        ConnectedAccount.objects.update(refresh_at=timezone.now(), expires_at=timezone.now())
        refresh_due_accounts.apply().get()
        assert get_access_token(account) != token
        users.filter(pk=user.pk).update(is_active=False)
        with pytest.raises(ProviderUnavailable, match="owner_inactive"):
            get_access_token(account)
        with pytest.raises(ProviderUnavailable, match="owner_inactive"):
            get_access_token_of(user, "badgr")
        users.filter(pk=user.pk).delete()
        assert not ConnectedAccount.objects.exists()
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
