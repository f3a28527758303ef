"""Say that this deployment owns the database's grants, after a copy or a move."""

from typing import Any

from django.core.management.base import BaseCommand

from connected_accounts import conf
from connected_accounts.services.pauses import confirm_site


class Command(BaseCommand):
    help = (
        "Let this deployment (CONNECTED_ACCOUNTS['SITE_ID']) refresh the tokens in this database. "
        "Run it after moving a site, never on a copy: two sites that spend the same refresh tokens "
        "lose them."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        changed = confirm_site()
        self.stdout.write(f"{conf.site_id() or '(no SITE_ID)'}: {changed} providers confirmed.")
