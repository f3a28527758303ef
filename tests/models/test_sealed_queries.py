"""Sealed columns in queries: not loaded unless asked for, and never compared."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Prefetch, Q
from django.test.utils import CaptureQueriesContext

from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Revocation
from connected_accounts.secret import Sealed

ROOT = Path(__file__).resolve().parents[2]
Accounts = ConnectedAccount.objects


def reads_tokens(work: Callable[[], Any]) -> list[str]:
    """The statements of ``work`` that read a sealed column of an account."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        work()
    column = f"{ConnectedAccount._meta.db_table}`.`token`"
    selects = [q["sql"].replace('"', "`") for q in queries if q["sql"].startswith("SELECT")]
    assert selects, "the work asked nothing"
    return [sql for sql in selects if column in sql]


def users() -> Any:
    return get_user_model()._default_manager.all()


LISTS: dict[str, Callable[[], Any]] = {
    "default manager": lambda: list(Accounts.all()),
    "model's default manager": lambda: list(ConnectedAccount._default_manager.all()),
    "base manager": lambda: list(ConnectedAccount._base_manager.all()),
    "get": lambda: Accounts.get(),
    "for_user": lambda: list(Accounts.for_user(users().get())),
    "active": lambda: list(Accounts.active().at("badgr")),
    "with the user": lambda: list(Accounts.select_related("user")),
    "of the user": lambda: list(users().get().connected_accounts.all()),
    "prefetched": lambda: list(users().prefetch_related("connected_accounts")),
    "prefetched by queryset": lambda: list(
        users().prefetch_related(Prefetch("connected_accounts", Accounts.active()))
    ),
    "refreshed from the database": lambda: Accounts.get().refresh_from_db(),
    "in bulk": lambda: Accounts.in_bulk(),
    "count": lambda: Accounts.count(),
    "aggregate of a filter": lambda: Accounts.filter(token__isnull=False).exists(),
}


@pytest.mark.parametrize("work", LISTS.values(), ids=LISTS)
def test_a_list_leaves_the_token_in_the_database(work: Any, make_account: Any, user: Any) -> None:
    make_account(user)
    assert [sql for sql in reads_tokens(work) if "`token` IS NOT NULL" not in sql] == []


def test_the_deletion_of_a_user_gathers_accounts_without_their_tokens(
    make_account: Any, user: Any
) -> None:
    rows = [make_account(user) for _ in range(3)]
    table = ConnectedAccount._meta.db_table
    # Each is read for its copy, by its number, once it is locked; none with the others.
    copying = [f"`{table}`.`id` = {row.pk} LIMIT 21" for row in rows]
    read = [sql.partition(" WHERE ")[2] for sql in reads_tokens(user.delete)]
    assert sorted(read) == sorted(copying)
    assert Revocation.objects.count() == 3, "the ciphertext was copied, unopened"


def test_a_row_of_a_list_loads_its_token_when_it_is_opened(make_account: Any) -> None:
    make_account(access_token="the-token")
    account = Accounts.get()
    with CaptureQueriesContext(connection) as queries:
        assert account.open_token()["access_token"] == "the-token"
        account.open_token()
    assert len(queries) == 1


def test_saving_a_row_of_a_list_leaves_its_token_alone(make_account: Any) -> None:
    make_account(access_token="the-token")
    account = Accounts.get()
    account.label = "renamed"
    with CaptureQueriesContext(connection) as queries:
        account.save()
    assert not any("token`" in q["sql"].replace('"', "`").split("WHERE")[0] for q in queries)
    assert Accounts.with_token().get().open_token()["access_token"] == "the-token"


def test_what_select_related_loads_stays_closed(make_account: Any, user: Any, now: Any) -> None:
    account = make_account(user)
    AuthorizationRequest.objects.create(
        nonce_digest="n",
        user=user,
        owner_key=account.owner_key,
        provider="badgr",
        client_id="c",
        endpoint_fingerprint="f",
        redirect_uri="https://site.example/",
        browser_digest="b",
        account=account,
        created_at=now,
        expires_at=now,
    )
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(ConnectedAccount._meta.db_table)
        cursor.execute(f"UPDATE {table} SET token = 'damaged'")
    loaded = AuthorizationRequest.objects.select_related("account").get().account
    assert isinstance(loaded.token, Sealed)
    with pytest.raises(Undecryptable):
        loaded.open_token()


def test_an_account_that_went_through_pickle_neither_opens_nor_saves_its_token(
    make_account: Any,
) -> None:
    account = make_account(access_token="the-token")
    back = pickle.loads(pickle.dumps(Accounts.with_token().get()))
    with pytest.raises((TypeError, ValueError)), transaction.atomic():
        back.save()
    assert Accounts.get(pk=account.pk).open_token()["access_token"] == "the-token"
    with pytest.raises(Undecryptable):
        back.open_token()


LOOKUPS = ["", "__exact", "__iexact", "__in", "__startswith", "__contains", "__icontains", "__gt"]
LOOKUPS += ["__regex", "__range", "__length", "__lower__startswith"]


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("model", [ConnectedAccount, Revocation])
def test_a_sealed_column_cannot_be_searched(lookup: str, model: Any, db: None) -> None:
    value = ["x", "y"] if lookup in ("__in", "__range") else "x"
    with pytest.raises(FieldError, match="isnull"):
        model.objects.filter(**{f"token{lookup}": value})
    with pytest.raises(FieldError):
        model.objects.exclude(Q(**{f"token{lookup}": value}))


def test_a_sealed_column_cannot_be_searched_through_a_relation(db: None) -> None:
    with pytest.raises(FieldError):
        users().filter(connected_accounts__token__startswith="v1.")


def test_it_can_be_asked_whether_there_is_a_token(make_account: Any) -> None:
    with_token, without = make_account(), make_account(token=None)
    assert Accounts.get(token__isnull=False) == with_token
    assert Accounts.get(token__isnull=True) == without


def test_a_dump_holds_ciphertext_and_loads_again(make_account: Any, tmp_path: Path) -> None:
    account, out = make_account(access_token="the-token"), StringIO()
    call_command("dumpdata", "connected_accounts.connectedaccount", stdout=out)
    assert "the-token" not in out.getvalue()
    assert account.token.reveal() in out.getvalue()
    Accounts.all()._raw_delete("default")
    dump = tmp_path / "dump.json"
    dump.write_text(out.getvalue())
    call_command("loaddata", dump, verbosity=0)
    assert Accounts.get().open_token()["access_token"] == "the-token"


def test_a_dump_with_a_plaintext_is_refused(make_account: Any, tmp_path: Path) -> None:
    make_account()
    out, dump = StringIO(), tmp_path / "dump.json"
    call_command("dumpdata", "connected_accounts.connectedaccount", stdout=out)
    rows = json.loads(out.getvalue())
    rows[0]["fields"]["token"] = "plain-text-token"
    dump.write_text(json.dumps(rows))
    Accounts.all()._raw_delete("default")
    with pytest.raises(TypeError, match="sealed text only"), transaction.atomic():
        call_command("loaddata", dump, verbosity=0)
    assert not Accounts.exists()


START = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
    "connected_accounts"], {setting}
)
django.setup()
"""


@pytest.mark.parametrize("setting", ["", "FIELD_ENCRYPTION_KEY=['not-a-key-but-secret']"])
def test_the_site_does_not_start_without_a_good_key(setting: str) -> None:
    command = [sys.executable, "-c", START.replace("{setting}", setting)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert run.returncode != 0
    message = run.stderr[run.stderr.index("ImproperlyConfigured") :]
    assert "FIELD_ENCRYPTION_KEY" in message
    assert 'python -c "from cryptography.fernet import Fernet' in message
    assert "not-a-key-but-secret" not in message
