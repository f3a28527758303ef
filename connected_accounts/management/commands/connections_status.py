"""The state of all connections, for people and for monitors."""

import json
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.utils import timezone

from connected_accounts.management.output import PlainCommand
from connected_accounts.models.deployment import sites
from connected_accounts.operations.health import (
    MAX_OVERDUE,
    Health,
    KeyState,
    health,
    key_states,
    troubles,
)

COLUMNS: Final[tuple[str, ...]] = (
    "provider",
    "active",
    "due",
    "overdue",
    "overdue_seconds",
    "failing",
    "reconnect_required",
    "revocations_waiting",
    "revocations_given_up",
    "paused_until",
    "pause_reason",
)


class Command(PlainCommand):
    help = (
        "Show for each provider how many connections are active, due, overdue, failing or ended, "
        "how long the oldest due one has been waiting, until when and why the provider is paused, "
        "how many revocations wait, and how many values each encryption key has sealed. "
        "Exits 0 when all is well, 1 when something needs an "
        "operator, 2 for wrong arguments."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument(
            "--max-overdue",
            type=int,
            default=MAX_OVERDUE,
            metavar="SECONDS",
            help="a due refresh may wait for so long (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        limit = options["max_overdue"]
        rows = health(timezone.now(), max_overdue=limit)
        keys = key_states()
        found = troubles(rows, max_overdue=limit) + _lost_keys(keys)
        if options["json"]:
            document = {
                "site": sites()._asdict(),
                "providers": [row.as_dict() for row in rows],
                "keys": {
                    name: {"values": state.values, "state": state.state}
                    for name, state in keys.items()
                },
                "troubles": found,
            }
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self._write_table(rows)
            for name, key in keys.items():
                old = ", an old key: see rotate_token_keys" if key.state == "old" else ""
                self.stdout.write(f"key {name}: {key.values} values{old}")
            for trouble in found:
                self.stdout.write(trouble, self.style.ERROR)
        if found:
            sys.exit(1)

    def _write_table(self, rows: list[Health]) -> None:
        table = [COLUMNS]
        for row in rows:
            values = row.as_dict()
            cells = (values[name] for name in COLUMNS)
            table.append(tuple("-" if cell in (None, "") else str(cell) for cell in cells))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(padded).rstrip())


def _lost_keys(keys: dict[str, KeyState]) -> list[str]:
    lost = {name: key.values for name, key in keys.items() if key.state == "missing"}
    if not lost:
        return []
    names = ", ".join(lost)
    return [
        f"{sum(lost.values())} stored values cannot be opened: FIELD_ENCRYPTION_KEY lacks {names}."
    ]
