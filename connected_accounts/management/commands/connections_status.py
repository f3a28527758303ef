"""How the connections are, for people and for monitors."""

import json
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.utils import timezone

from connected_accounts.services.health import Health, KeyState, health, key_states

COLUMNS: Final = (
    "provider",
    "active",
    "due",
    "overdue_seconds",
    "failing",
    "reconnect_required",
    "revocations_waiting",
    "revocations_given_up",
)


class Command(BaseCommand):
    help = (
        "Show for each provider how many connections are active, due, failing or ended, how long "
        "the oldest due one has been waiting, and how many values each encryption key has sealed. "
        "Exits 1 when something needs an operator."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument(
            "--max-overdue",
            type=int,
            default=900,
            metavar="SECONDS",
            help="a due refresh may wait for so long (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        rows = health(timezone.now())
        keys = key_states()
        troubles = [trouble for row in rows for trouble in _troubles(row, options["max_overdue"])]
        troubles += _lost_keys(keys)
        if options["json"]:
            document = {
                "providers": [row.as_dict() for row in rows],
                "keys": {
                    name: {"values": state.values, "state": state.state}
                    for name, state in keys.items()
                },
                "troubles": troubles,
            }
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self._write_table(rows)
            for name, key in keys.items():
                old = ", an old key: see rotate_token_keys" if key.state == "old" else ""
                self.stdout.write(f"key {name}: {key.values} values{old}")
            for trouble in troubles:
                self.stdout.write(self.style.ERROR(trouble))
        if troubles:
            sys.exit(1)

    def _write_table(self, rows: list[Health]) -> None:
        table = [COLUMNS, *(tuple(str(getattr(row, name)) for name in COLUMNS) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def _lost_keys(keys: dict[str, KeyState]) -> list[str]:
    lost = {name: key.values for name, key in keys.items() if key.state == "missing"}
    if not lost:
        return []
    names = ", ".join(lost)
    return [
        f"{sum(lost.values())} stored values cannot be opened: FIELD_ENCRYPTION_KEY lacks {names}."
    ]


def _troubles(row: Health, max_overdue: int) -> list[str]:
    """What an operator should look at, in words."""
    found = []
    if row.overdue_seconds > max_overdue:
        found.append(f"{row.provider}: a refresh has been due for {row.overdue_seconds} seconds.")
    if row.paused_until is not None:
        found.append(f"{row.provider}: paused until {row.paused_until}: {row.pause_reason}.")
    if row.other_site:
        found.append(f"{row.provider}: belongs to another site; see manage.py confirm_site.")
    if not row.configured and (row.active or row.revocations_waiting):
        found.append(f"{row.provider}: has connections, but is not in settings.")
    return found
