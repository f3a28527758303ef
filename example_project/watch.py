"""What happens to the connected accounts, told as it happens, from the rows of the database."""

from collections.abc import Iterator
from datetime import datetime

from django.contrib.auth import get_user_model
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event


class Watch:
    """Remembers what was told. A refresh writes no event, so the accounts are looked at too."""

    def __init__(self) -> None:
        newest = Event.objects.order_by("-pk").first()
        self.last_event = newest.pk if newest else 0
        self.refreshed = {account.pk: account.refreshed_at for account in self._accounts()}

    def news(self) -> list[str]:
        """A line for each thing that is new since the last call, in the order of time."""
        found = sorted([*self._events(), *self._refreshes()])
        return [f"{clock(moment)}  {text}" for moment, text in found]

    def _events(self) -> Iterator[tuple[datetime, str]]:
        for event in Event.objects.filter(pk__gt=self.last_event).order_by("pk"):
            self.last_event = event.pk
            about = f"{event.label or event.subject} of {owner(event.owner_key)}"
            detail = f" ({event.detail})" if event.detail else ""
            yield event.at, f"{event.provider}: {about}: {event.get_kind_display()}{detail}"

    def _refreshes(self) -> Iterator[tuple[datetime, str]]:
        for account in self._accounts():
            refreshed_at = account.refreshed_at
            if refreshed_at is not None and refreshed_at != self.refreshed.get(account.pk):
                again = f"; next at {clock(account.refresh_at)}" if account.refresh_at else ""
                text = f"{account.provider}: token of {owner(account.owner_key)} refreshed{again}"
                yield refreshed_at, text
            self.refreshed[account.pk] = refreshed_at

    def _accounts(self) -> Iterator[ConnectedAccount]:
        yield from ConnectedAccount.objects.order_by("pk")


def owner(key: str) -> str:
    """The name behind an account's owner key."""
    kind, _, pk = key.partition(":")
    user = get_user_model().objects.filter(pk=pk).first() if kind == "user" else None
    return user.get_username() if user else key


def clock(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%H:%M:%S")
