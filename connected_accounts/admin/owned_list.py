"""The list of an admin whose rows are somebody's."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from connected_accounts.admin.addresses import page_for
from connected_accounts.admin.large_lists import names_of


class OwnedChangeList(ChangeList):
    """A list whose rows know the name of their owner, in ``owner_name``, and whether the reader may
    see the owner's page, in ``shows_person``. One query besides."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        names = names_of(row.owner_key for row in rows)
        seen = bool(page_for(request, "connectedaccount_changelist"))
        for row in rows:
            row.owner_name = names.get(row.owner_key, row.owner_key)
            row.shows_person = seen
        self.result_list = rows
