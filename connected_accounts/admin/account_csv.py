"""The accounts of a list as a CSV file, without any secret."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from connected_accounts.models import ConnectedAccount

COLUMNS: Final = (
    "provider",
    "owner",
    "owner_key",
    "account",
    "subject",
    "status",
    "reason",
    "last_error",
    "failure_count",
    "connected_at",
    "refreshed_at",
    "expires_at",
    "refresh_at",
    "scopes_granted",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet knows one


def csv_response(accounts: QuerySet[ConnectedAccount]) -> StreamingHttpResponse:
    """A file to download; it is read from the database as it is sent. Times are in UTC, or without
    USE_TZ the site's own; names are those of the model's fields."""
    response = StreamingHttpResponse(_lines(accounts), content_type="text/csv; charset=utf-8")
    name = f"connected-accounts-{timezone.now():%Y-%m-%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _lines(accounts: QuerySet[ConnectedAccount]) -> Iterator[str]:
    yield _line(COLUMNS)
    for account in accounts.select_related("user").iterator(chunk_size=1000):
        values = [_text(account, column) for column in COLUMNS]
        yield _line([f"'{v}" if v.startswith(FORMULA) else v for v in values])


def _line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def _text(account: ConnectedAccount, column: str) -> str:
    match column:
        case "owner":
            return str(account.user or account.owner_key)
        case "account":
            return str(account.display_name)
        case "scopes_granted":
            return " ".join(account.scopes_granted)
    value = getattr(account, column)
    if value is None:
        return ""
    return value.isoformat() if column.endswith("_at") else str(value)
