"""Sealed columns: keys that are lost and come back, and what may be written into them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection, transaction
from django.db.models import Case, F, Func, OuterRef, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat, Lower
from django.test import override_settings

from connected_accounts.clients.credentials import open_client
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import ConnectedAccount, Event, ProviderClient, Revocation
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.refresh.carried_grant import store_sealed
from connected_accounts.sealing import (
    HEAD,
    MAX_SEALED_BYTES,
    TOKEN_PURPOSE,
    column_bytes,
    encryption_keys,
    head_of,
    is_sealed,
    key_id,
    open_column,
    open_document,
    reseal,
    seal,
    seal_document,
    unseal,
)
from connected_accounts.secret import Sealed, Secret
from connected_accounts.services import disconnect, get_access_token

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
PLAIN = "plain-text-token"


def stored(account: ConnectedAccount) -> bytes:
    """The column as the database has it, past the field."""
    table, token = connection.ops.quote_name(ConnectedAccount._meta.db_table), "token"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {token} FROM {table} WHERE id = %s", [account.pk])
        return bytes(cursor.fetchone()[0] or b"")


def damage(account: ConnectedAccount, held: str | bytes) -> ConnectedAccount:
    """Write ``held`` into the column, past the field, and load the row again."""
    table = connection.ops.quote_name(ConnectedAccount._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET token = %s WHERE id = %s", [held, account.pk])
    return loaded(account)


def loaded(account: ConnectedAccount) -> ConnectedAccount:
    return ConnectedAccount.objects.with_token().get(pk=account.pk)


def code_of(account: ConnectedAccount) -> str:
    with pytest.raises(Undecryptable) as caught:
        account.open_token()
    with pytest.raises(Undecryptable, match=caught.value.code):
        open_column(stored(account) or None, account)
    return caught.value.code


# --- Keys ---------------------------------------------------------------------------------------


def test_what_the_first_release_sealed_is_opened() -> None:
    """By every later one: an upgrade must not close what is stored."""
    sealed = Sealed(
        "v1.e769a730.gAAAAABrDFLV8kGqovFfeokzRRUGHaIgOAoCaP8r53l_yuSoCm7rdrFNOyAOXf4Fp07k"
        "_ho4zRgvLaG2HCy4TM4e2ztwd5xNV8-T7AcNgaw0iz5UQ3K4qh6b9YE77XYmAREDDqy1jyTEIzURiGDE"
        "GaefANKJwDXYF1xp_uatdkKDcKXwaBW6m0-D1HZZXmOPMpLssYucPrM6BJh8Exmbt2yW8uaEke9grE59"
        "2qlZRPevbYfY00MFUwP0xMs8Q_28A7aU-1phUnuYHZXWPfMYFcQp1KQsGi2h6dCHunGiLyO0zFBGE_3u"
        "VPc="
    )
    row = ConnectedAccount(
        seal_id=uuid.UUID("5e1f0000-0000-4000-8000-000000000001"),
        owner_key="user:1",
        provider="badgr",
        subject_digest="5" * 64,
        client_id="client",
        endpoint_fingerprint="f" * 64,
    )
    with override_settings(FIELD_ENCRYPTION_KEY=["a2V5LW9mLXRoZS1maXJzdC1yZWxlYXNlLTAxMjM0NTY="]):
        opened = open_document(sealed, row)
    assert (opened["access_token"], opened["refresh_token"]) == ("access", "refresh")


def test_a_lost_key_closes_a_row_and_its_return_heals_it(make_account: Any) -> None:
    with override_settings(FIELD_ENCRYPTION_KEY=[OLD]):
        account = make_account(access_token=PLAIN)
        ciphertext = stored(account)
    with override_settings(FIELD_ENCRYPTION_KEY=[OTHER]):
        row = loaded(account)
        assert isinstance(row.token, Sealed)
        assert code_of(row) == "key_missing"
        row.label = "renamed"
        row.save()
        ConnectedAccount.objects.bulk_update([row], ["label"])
        assert stored(account) == ciphertext, "never sealed a second time"
    with override_settings(FIELD_ENCRYPTION_KEY=[OTHER, OLD]):
        assert loaded(account).open_token()["access_token"] == PLAIN


def test_the_first_key_seals_and_all_keys_open(make_account: Any) -> None:
    with override_settings(FIELD_ENCRYPTION_KEY=[OLD]):
        before = make_account()
    with override_settings(FIELD_ENCRYPTION_KEY=[NEW, OLD]):
        after = make_account()
        assert stored(before).startswith(head_of(key_id(OLD)))
        assert stored(after).startswith(head_of(key_id(NEW)))
        assert loaded(before).open_token() == loaded(after).open_token()
    with override_settings(FIELD_ENCRYPTION_KEY=[NEW]):
        assert code_of(loaded(before)) == "key_missing"
        loaded(after).open_token()


KEY_FORMS = {
    "text": OLD,
    "bytes": OLD.encode(),
    "tuple": (OLD,),
    "list of bytes": [OLD.encode()],
    "a comma and a blank": f"{NEW}, {OLD}".split(","),
    "the end of a file's line": f"{OLD}\r\n",
    "the quotes of an env file": f'"{OLD}"',
}


@pytest.mark.parametrize("keys", KEY_FORMS.values(), ids=KEY_FORMS)
def test_a_key_may_be_written_in_each_form_the_library_takes(keys: Any) -> None:
    with override_settings(FIELD_ENCRYPTION_KEY=[OLD]):
        sealed = seal(PLAIN, purpose="p", bound_to=1)
    with override_settings(FIELD_ENCRYPTION_KEY=keys):
        assert unseal(sealed, purpose="p", bound_to=1) == PLAIN


@pytest.mark.parametrize(
    "written", [f" {OLD}", f"{OLD}\n", f"'{OLD}'"], ids=["blank", "line", "quotes"]
)
def test_what_was_sealed_under_a_key_as_it_was_written_opens(written: str) -> None:
    with override_settings(FIELD_ENCRYPTION_KEY=[OLD]):
        text = seal(PLAIN, purpose="p", bound_to=1).reveal()
        old_name = Sealed(text.replace(key_id(OLD), key_id(written)))
    with override_settings(FIELD_ENCRYPTION_KEY=[written]):
        assert unseal(old_name, purpose="p", bound_to=1) == PLAIN
        assert key_id(OLD) in reseal(old_name).reveal()


def test_a_key_id_says_nothing_about_its_key() -> None:
    assert key_id(OLD) not in OLD
    assert key_id(OLD) != key_id(NEW)


BAD_KEYS: dict[str, Any] = {
    "none": None,
    "empty": "",
    "no keys": [],
    "an empty key": [""],
    "short": "short",
    "a short one behind a good one": [OLD, "short"],
    "a missing one": [None],
    "numbers": [12],
    "a number": 12,
    "cut": [OLD[:-4]],
    "two in one text": f"{OLD},{NEW}",
    "two in one text of a list": [f"{OLD} {NEW}"],
    "another alphabet": ["ключ" * 11],
    "callable": str,
}


@pytest.mark.parametrize("keys", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_refused_with_the_way_to_make_one(keys: Any) -> None:
    with (
        override_settings(FIELD_ENCRYPTION_KEY=keys),
        pytest.raises(ImproperlyConfigured, match=r"Fernet\.generate_key") as caught,
    ):
        encryption_keys()
    assert "FIELD_ENCRYPTION_KEY" in str(caught.value)
    assert "short" not in str(caught.value)
    assert OLD[:-4] not in str(caught.value)


# --- What does not open -------------------------------------------------------------------------

BROKEN: dict[str, tuple[Callable[[bytes], str | bytes], str]] = {
    "nothing": (lambda held: b"", "not_sealed"),
    "a plaintext": (lambda held: PLAIN, "not_sealed"),
    "a sealed text": (lambda held: f"v1.{held[1:HEAD].hex()}." + "A" * 100, "not_sealed"),
    "a bare Fernet token": (lambda held: held[HEAD:], "not_sealed"),
    "another version": (lambda held: b"\x00" + held[1:], "not_sealed"),
    "a head alone": (lambda held: held[:HEAD], "not_sealed"),
    "a head cut short": (lambda held: held[: HEAD - 1], "not_sealed"),
    "an unknown key id": (lambda held: head_of("0" * 8) + held[HEAD:], "key_missing"),
    "the id of another key": (lambda held: head_of(key_id(OTHER)) + held[HEAD:], "tampered"),
    "a cut end": (lambda held: held[:-20], "tampered"),
    "a changed middle": (lambda held: held[:80] + bytes([held[80] ^ 1]) + held[81:], "tampered"),
    "something behind": (lambda held: held + b"\n", "tampered"),
}


@pytest.mark.parametrize(("change", "code"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_row_loads_and_does_not_open(change: Any, code: str, make_account: Any) -> None:
    with override_settings(FIELD_ENCRYPTION_KEY=[OLD, OTHER]):
        account = make_account(access_token=PLAIN)
        row = damage(account, change(stored(account)))
        with pytest.raises(Undecryptable) as caught:
            row.open_token()
    assert caught.value.code == code
    assert PLAIN not in str(caught.value)


@pytest.mark.parametrize("change", ["", PLAIN, head_of("0" * 8) + b"A" * 80], ids=repr)
def test_a_damaged_row_does_not_stop_the_deletion_of_its_owner(
    change: str | bytes, make_account: Any, user: Any
) -> None:
    damage(make_account(user), change)
    make_account(user, access_token=PLAIN)
    user.delete()
    assert not ConnectedAccount.objects.exists()
    assert Event.objects.filter(kind="disconnected").count() == 2


def test_another_rows_ciphertext_does_not_open(make_account: Any) -> None:
    mine, other = make_account(), make_account(access_token=PLAIN)
    ConnectedAccount.objects.filter(pk=mine.pk).transition(token=other.token)
    assert stored(mine) == stored(other)
    assert code_of(loaded(mine)) == "foreign"


@pytest.mark.parametrize(
    "column", ["owner_key", "provider", "subject_digest", "client_id", "endpoint_fingerprint"]
)
def test_a_token_does_not_open_where_sql_says_that_the_row_is_another(
    column: str, make_account: Any, user: Any
) -> None:
    """Who can write the database can copy a token with its ``seal_id``, and say of a row whose it
    is and where its token goes. That opens nothing."""
    account = make_account(user)
    ConnectedAccount.objects.filter(pk=account.pk).transition(**{column: "another"})
    assert code_of(loaded(account)) == "foreign"


def test_a_token_that_is_copied_with_its_seal_opens_for_no_other_owner(
    make_account: Any, user: Any
) -> None:
    hers, his = make_account(user), make_account()
    LedgerEntry.objects.all().delete()  # who can write one table can write the other
    copied = loaded(hers)
    rows = ConnectedAccount.objects.filter(pk=his.pk)
    rows.transition(token=copied.token, seal_id=copied.seal_id)
    assert code_of(loaded(his)) == "foreign"
    with pytest.raises(Undecryptable):
        get_access_token(his)


@pytest.mark.parametrize("column", ["provider", "host", "owner_key", "client_id"])
def test_a_clients_secret_does_not_open_where_sql_says_that_it_is_anothers(
    column: str, db: None, now: Any
) -> None:
    row = ProviderClient(
        provider="badgr", client_id="c", host="https://one.example", created_at=now
    )
    row.client_secret = row.sealed(Secret(PLAIN))  # type: ignore[assignment]
    row.save()
    assert ProviderClient.objects.get().open_secret() == Secret(PLAIN)
    ProviderClient.objects.update(**{column: "another"})
    with pytest.raises(Undecryptable):
        open_client(ProviderClient.objects.get())


def test_a_stored_token_cannot_be_sent_to_the_broker_as_a_new_grant(make_account: Any) -> None:
    account = make_account(refresh_token="spent")
    assert store_sealed(account.pk, account.generation, loaded(account).token.reveal()) is False
    assert loaded(account).open_token()["refresh_token"] == "spent"


@pytest.mark.parametrize("way", ["update", "save"])
@pytest.mark.parametrize("change", [{"provider": "bits"}, {"subject": "new name"}], ids=str)
def test_a_token_opens_still_when_its_row_is_given_another_name(
    way: str, change: dict[str, str], make_account: Any
) -> None:
    account = make_account(access_token=PLAIN)
    if way == "update":
        ConnectedAccount.objects.filter(pk=account.pk).update(**change)
    else:
        for name, value in change.items():
            setattr(account, name, value)
        account.save()
    assert loaded(account).open_token()["access_token"] == PLAIN
    assert {name: getattr(loaded(account), name) for name in change} == change


def test_a_text_sealed_for_another_purpose_does_not_open() -> None:
    row = uuid.uuid4()
    sealed = seal("{}", purpose="connected_accounts.verifier", bound_to=row)
    with pytest.raises(Undecryptable) as caught:
        unseal(sealed, purpose=TOKEN_PURPOSE, bound_to=row)
    assert caught.value.code == "foreign"


@pytest.mark.parametrize("value", [None, Secret(PLAIN), PLAIN], ids=type)
def test_what_is_not_sealed_does_not_open(value: Any) -> None:
    with pytest.raises(Undecryptable):
        unseal(value, purpose=TOKEN_PURPOSE, bound_to=1)


def test_a_row_without_a_token_does_not_open(make_account: Any) -> None:
    assert code_of(loaded(make_account(token=None))) == "empty"


@pytest.mark.parametrize("text", ["", "nul \x00", "\ud800", "🔑" * 1000, "\r\n", '"],['])
def test_any_text_comes_back_as_it_was_sealed(text: str) -> None:
    sealed = seal(text, purpose="p", bound_to="row")
    assert is_sealed(sealed)
    assert unseal(sealed, purpose="p", bound_to="row") == text


def test_a_column_takes_few_bytes_more_than_the_tokens_in_it() -> None:
    row = ConnectedAccount(owner_key="user:1", provider="badgr", client_id="c")
    tokens = {"access_token": "a" * 200, "refresh_token": "r" * 100, "id_token": None}
    held = column_bytes(seal_document(tokens, row).reveal())
    # Its key, Fernet's 57 and at most 16 to fill a block, the binding, and some JSON.
    assert len(held) <= 300 + 5 + 57 + 16 + 33 + 20


@pytest.mark.parametrize(
    "document",
    [
        {"access_token": "a"},
        {"access_token": "a", "expires_in": 60},
        {"access_token": "a", "refresh_token": "r"},
        {"access_token": "a", "refresh_token": "r", "id_token": "i", "after_refusal": True},
    ],
    ids=len,
)
def test_a_document_comes_back_as_it_was_sealed(document: dict[str, Any]) -> None:
    row = ConnectedAccount(owner_key="user:1", provider="badgr", client_id="c")
    without = seal_document({"id_token": None, **document}, row)
    assert dict(open_document(without, row)) == document


def test_a_text_that_is_too_large_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="too large"):
        seal("x" * MAX_SEALED_BYTES, purpose="p", bound_to=1)


# --- What may be written ------------------------------------------------------------------------


def test_sealed_values_can_be_updated_one_by_one_and_in_bulk(make_account: Any) -> None:
    owed = [disconnect(make_account()) for _ in range(4)]
    rows: list[Revocation] = [row for row in owed if row is not None]
    fresh = [seal_document({"access_token": f"new-{row.pk}"}, row) for row in rows]
    Revocation.objects.filter(pk=rows[0].pk).update(token=fresh[0])
    Revocation.objects.filter(pk=rows[1].pk).update(token=fresh[1].reveal())
    rows[2].token, rows[3].token = fresh[2], fresh[3].reveal()
    Revocation.objects.bulk_update(rows[2:], ["token"])
    for row in Revocation.objects.all():
        assert dict(open_document(row.token, row)) == {"access_token": f"new-{row.pk}"}
    rows[2].token, rows[3].token = None, fresh[3]
    Revocation.objects.bulk_update(rows[2:], ["token"])
    without = Revocation.objects.filter(token__isnull=True)
    assert [row.pk for row in without] == [rows[2].pk]


def values() -> dict[str, Any]:
    sealed = seal_document({}, Revocation())
    same = ConnectedAccount.objects.filter(pk=OuterRef("pk"))
    return {
        "a plaintext": PLAIN,
        "an empty text": "",
        "bytes": PLAIN.encode(),
        "a number": 12,
        "a document": {"access_token": PLAIN},
        "a Secret": Secret(PLAIN),
        "a Secret that holds sealed text": Secret(sealed.reveal()),
        "a Sealed with something else": Sealed(PLAIN),
        "F": F("label"),
        "F of itself": F("token"),
        "Value": Value(PLAIN),
        "Value of a Secret": Value(Secret(PLAIN)),
        "Value of a Sealed": Value(sealed),
        "Func": Func(Value(PLAIN), function="UPPER"),
        "Lower": Lower("token"),
        "Concat": Concat("token", Value("x")),
        "RawSQL": RawSQL("'x'", []),
        "Case": Case(When(label="x", then=F("label")), default=Value(None)),
        "Case with a plaintext": Case(When(label="x", then=Value(PLAIN)), default=F("token")),
        "Subquery": Subquery(same.values("label")[:1]),
    }


WAYS: dict[str, Callable[[ConnectedAccount, Any], Any]] = {
    "update": lambda row, value: ConnectedAccount.objects.update(token=value),
    "transition": lambda row, value: ConnectedAccount.objects.transition(token=value),
    "save": lambda row, value: row.save(),
    "save of the field": lambda row, value: row.save(update_fields=["token"]),
    "bulk_update": lambda row, value: ConnectedAccount.objects.bulk_update([row], ["token"]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", values())
def test_what_is_not_sealed_is_refused_and_nothing_changes(
    name: str, way: Any, make_account: Any
) -> None:
    account = make_account()
    ciphertext, row = stored(account), loaded(account)
    row.token = value = values()[name]
    with pytest.raises(TypeError, match="seal"), transaction.atomic():
        way(row, value)
    assert stored(account) == ciphertext


@pytest.mark.parametrize("name", values())
def test_a_row_is_not_created_with_what_is_not_sealed(name: str, make_account: Any) -> None:
    # Django itself refuses a column in an INSERT, in several ways.
    refused = (TypeError, ValueError, AttributeError, FieldError)
    with pytest.raises(refused), transaction.atomic():
        make_account(token=values()[name])
    assert not ConnectedAccount.objects.exists()
