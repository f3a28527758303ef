"""Disconnect many connections at once, for an incident."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from connected_accounts.management.arguments import moment
from connected_accounts.management.output import PlainCommand
from connected_accounts.models import ConnectedAccount
from connected_accounts.revoke.disconnect import disconnect_all


class Command(PlainCommand):
    help = (
        "Disconnect all connections of a provider: each account is deleted and its grant queued "
        "for revocation, which revoke_pending_tokens then carries out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--provider", required=True, metavar="ALIAS")
        parser.add_argument(
            "--since",
            type=moment,
            metavar="WHEN",
            help="only those connected at or after this ISO date and time",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = ConnectedAccount.objects.at(options["provider"])
        if options["since"] is not None:
            accounts = accounts.filter(connected_at__gte=options["since"])
        count = accounts.count()
        if not count:
            raise CommandError(f"There are no such connections at {options['provider']!r}.")
        if not options["no_input"]:
            answer = input(f"Disconnect {count} connections at {options['provider']}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was done.")
        for done in disconnect_all(accounts):
            self.stdout.write(f"{done} of {count} disconnected")
        self.stdout.write("Their grants are withdrawn by revoke_pending_tokens; see Revocations.")
