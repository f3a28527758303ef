"""Say that this deployment owns the grants in its database (after a move, or a restored backup), or
that a provider's new hosts are right."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.management.arguments import moment
from connected_accounts.management.output import PlainCommand
from connected_accounts.models.deployment import confirm_site
from connected_accounts.operations.endpoints import confirm_endpoints, moved
from connected_accounts.operations.restored_backup import end_lost_rotations


class Command(PlainCommand):
    help = (
        "Let this deployment (CONNECTED_ACCOUNTS['SITE_ID']) refresh the tokens in this database. "
        "Run it after moving a site, never on a copy: two sites that spend the same refresh tokens "
        "lose them. With --restored, before the workers start on a restored backup. With "
        "--endpoints: let the tokens of one provider go to the hosts that settings name today, and "
        "nothing else."
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
        parser.add_argument(
            "--endpoints", metavar="ALIAS", help="confirm the new hosts of this provider"
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask about the hosts")

    def handle(self, *args: Any, **options: Any) -> None:
        about_restored = options["until"] or options["provider"] or options["all"]
        if options["endpoints"] is not None:
            if options["restored"] or about_restored:
                raise CommandError("--endpoints goes with --no-input only.")
            self._confirm_endpoints(options["endpoints"], ask=not options["no_input"])
            return
        if options["restored"]:
            self._restored(options)
        elif about_restored:
            raise CommandError("--until, --provider and --all go with --restored.")
        before = confirm_site()
        was, here = (name or "(no name)" for name in (before.database, before.here))
        self.stdout.write(f"The database was {was}, and is {here} now.")

    def _restored(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        ended, left = end_lost_rotations(
            options["until"] or now,
            now=now,
            providers=options["provider"],
            every=options["all"],
        )
        self.stdout.write(f"{ended} connections ended (rotation_lost), {left} kept.")

    def _confirm_endpoints(self, alias: str, *, ask: bool) -> None:
        try:
            found = moved(alias)
        except ConfigurationError as error:
            raise CommandError(error.message) from None
        for hosts, count in found.hosts.items():
            self.stdout.write(f"{count} tokens would go to {hosts}")
        if found.unknown:
            self.stdout.write(f"{found.unknown} are left: {alias} does not say where it is now.")
        if not found.hosts:
            self.stdout.write(f"{alias}: nothing waits for a yes.")
            return
        if ask:
            answer = input(f"Are these the hosts of {alias}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was done.")
        changed = confirm_endpoints(alias, hosts=set(found.hosts), now=timezone.now())
        self.stdout.write(f"{alias}: {changed} confirmed.")
