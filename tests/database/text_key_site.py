"""A site on MariaDB whose users have a text key with a collation of its own, run by
``test_text_keys.py`` in a process of its own: python -m tests.database.text_key_site URL, on an
empty database.
"""

import sys

from django.core.management import call_command

from tests.database.site_of_its_own import configure

KEY = "vytxeTZskVKR7C7WgdSP3d"


def main() -> None:
    configure(sys.argv[1], "people", "Person")
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth import get_user_model

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token
    from connected_accounts.testing import FakeProvider, connect_account

    people = get_user_model().objects
    one = people.create(id=KEY, username="one")
    other = people.create(id=KEY.swapcase(), username="other")
    with FakeProvider("badgr") as badgr:
        account = connect_account(badgr, one, subject="a-at-badgr")
        assert get_access_token(account)
        assert not ConnectedAccount.objects.for_user(other).exists()
        assert ConnectedAccount.objects.for_user(one).get().user == one
    print("done")


if __name__ == "__main__":
    main()
