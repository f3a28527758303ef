"""Seal everything that is stored with the first key of FIELD_ENCRYPTION_KEY."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from connected_accounts import security
from connected_accounts.management.output import PlainCommand
from connected_accounts.operations.key_rotation import Rekeyed, rekey


class Command(PlainCommand):
    help = (
        "Seal all stored tokens with the first key of FIELD_ENCRYPTION_KEY. Safe beside running "
        "workers; may be interrupted and run again. Remove an old key from the setting when a run "
        "counts nothing under it any more."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        figures = Rekeyed()
        watched = options["verbosity"] > 0 and self.stdout.isatty()
        for figures in rekey(dry_run=options["dry_run"]):
            if watched or options["verbosity"] > 1:
                self._show(figures, end="\r" if watched else "\n")
        if watched:
            self.stdout.write()
        for name, count in sorted(figures.by_key.items()):
            self.stdout.write(f"key {name}: {count} values")
        self.stdout.write(f"sealed anew: {figures.resealed}")
        if figures.resealed:
            security.log(security.SecurityEvent.KEYS_ROTATED)
        if figures.busy:
            self.stdout.write(f"being refreshed just now, run again: {figures.busy}")
        if figures.unreadable:
            raise CommandError(
                f"{figures.unreadable} values cannot be opened: their key is missing from "
                "FIELD_ENCRYPTION_KEY, or they are damaged. Nothing was done to them."
            )

    def _show(self, figures: Rekeyed, end: str) -> None:
        share = min(figures.seen / figures.to_do, 1) if figures.to_do else 1
        bar = "#" * round(40 * share)
        self.stdout.write(f"[{bar:<40}] {figures.seen} of {figures.to_do}", ending=end)
        self.stdout.flush()
