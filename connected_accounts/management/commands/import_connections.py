"""Take over the connections that allauth, social-auth or oauth2-capture made."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.importers.accounts import REASONS
from connected_accounts.importers.run import SOURCES, Imported, import_connections
from connected_accounts.management.arguments import pair
from connected_accounts.management.output import PlainCommand


class Command(PlainCommand):
    help = (
        "Read another package's tables in batches and store its tokens as connections, sealed, "
        "with expiry, scopes and identity. An account that is here already is never touched: the "
        "command may be interrupted and run again. Sends nothing to a provider but the question "
        "where its endpoints are, if settings name an issuer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", required=True, choices=sorted(SOURCES), dest="source")
        parser.add_argument(
            "--provider",
            action="append",
            default=[],
            type=pair,
            metavar="THEIRS=OURS",
            help="a provider's name there and its alias here, where they differ; may be repeated",
        )
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            metavar="SCOPE",
            help="granted to all whose row does not say what was; may be repeated",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")
        parser.add_argument(
            "--blank",
            action="store_true",
            help="take the tokens out of the rows that were imported, now or earlier",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask before --blank")

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run, blank = options["dry_run"], options["blank"] and not options["dry_run"]
        name = options["source"]
        if blank and not options["no_input"]:
            answer = input(f"Take the tokens out of {name}'s tables once they are stored? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was done.")
        try:
            source = SOURCES[name]()
        except ConfigurationError as error:
            raise CommandError(error.message) from None
        figures = Imported()
        for figures in import_connections(
            source,
            aliases=dict(options["provider"]),
            scopes=options["scope"],
            blank=blank,
            dry_run=dry_run,
        ):
            if options["verbosity"] > 1:
                self.stdout.write(f"{figures.read} rows read")
        self._report(name, figures, dry_run=dry_run, blank=blank)

    def _report(self, name: str, figures: Imported, *, dry_run: bool, blank: bool) -> None:
        self.stdout.write(f"{name}: {figures.read} rows read")
        for alias, count in sorted(figures.stored.items()):
            self.stdout.write(f"{alias}: {count} {'would be ' if dry_run else ''}imported")
        for (provider, reason), count in sorted(figures.skipped.items()):
            self.stdout.write(f"{provider}: {count} skipped: {REASONS[reason]} ({reason})")
        if blank:
            self.stdout.write(f"blanked: {figures.blanked}")
