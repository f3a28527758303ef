"""Say that this deployment owns the grants in its database: after a move, or a restored backup."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.management.arguments import moment
from connected_accounts.services.pauses import confirm_site
from connected_accounts.services.restoring import end_lost_rotations


class Command(BaseCommand):
    help = (
        "Let this deployment (CONNECTED_ACCOUNTS['SITE_ID']) refresh the tokens in this database. "
        "Run it after moving a site, never on a copy: two sites that spend the same refresh tokens "
        "lose them. With --restored, before the workers start on a restored backup."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--restored",
            action="store_true",
            help="the database is a backup: end what may have been refreshed since it was made",
        )
        parser.add_argument(
            "--until",
            type=moment,
            metavar="WHEN",
            help="ISO date and time at which the lost database was last in use (default: now)",
        )
        parser.add_argument(
            "--provider",
            action="append",
            default=[],
            metavar="ALIAS",
            help="only connections at this provider; may be repeated",
        )
        parser.add_argument(
            "--all", action="store_true", help="end all that have a refresh token, due or not"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["restored"]:
            self._restored(options)
        elif options["until"] or options["provider"] or options["all"]:
            raise CommandError("--until, --provider and --all go with --restored.")
        changed = confirm_site()
        self.stdout.write(f"{conf.site_id() or '(no SITE_ID)'}: {changed} providers confirmed.")

    def _restored(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        ended, left = end_lost_rotations(
            options["until"] or now,
            now=now,
            providers=options["provider"],
            every=options["all"],
        )
        self.stdout.write(f"{ended} connections ended (rotation_lost), {left} kept.")
