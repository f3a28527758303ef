"""Teams that share accounts."""

from collections.abc import Iterator

from django.contrib.auth.models import User

from connected_accounts.owners import Owner, owner_for


def owners_of(user: User) -> Iterator[Owner]:
    """What the setting ``OWNERS`` names."""
    for group in user.groups.all():
        yield Owner(f"group:{group.pk}", group.name, may_use=True, may_connect=user.is_staff)


def may_connect_for(user: User, group_id: int) -> bool:
    """For a template that shows a button or not."""
    owner: Owner | None = owner_for(user, f"group:{group_id}")
    return owner is not None and owner.may_connect
