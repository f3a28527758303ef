"""A Secret shows its mask in every way a value gets out by accident."""

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from django.core import serializers
from django.forms.models import model_to_dict
from django.utils.html import format_html

from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.secret import MASK, Sealed, Secret

TEXT = "tok-5f1c9d-very-secret"

SHOWN: dict[str, Callable[[Secret], Any]] = {
    "str": str,
    "repr": repr,
    "format": format,
    "f-string": lambda s: f"{s}",
    "f-string with repr": lambda s: f"{s!r}",
    "f-string with width": lambda s: f"{s:>40}",
    "f-string with equals": lambda s: f"{s=}",
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031  # the old way must be closed too
    "str.format": lambda s: "{} {!r}".format(s, s),  # noqa: UP032
    "join": lambda s: " ".join([s, s]),
    "addition": lambda s: "Bearer " + s,
    "multiplication": lambda s: s * 2,
    "slice": lambda s: s[:40],
    "index": lambda s: s[0],
    "iteration": list,
    "unpacking": lambda s: [*s],
    "upper": lambda s: s.upper() + s.lower() + s.strip() + s.replace("*", "*"),
    "bytes": lambda s: s.encode(),
    "json": json.dumps,
    "json in a dict": lambda s: json.dumps({"token": s}),
    "repr of a container": lambda s: repr(({"token": s}, [s])),
    "pprint": lambda s: pprint.pformat({"token": s}),
    "html": lambda s: format_html("<p>{}</p>", s),
    "exception": lambda s: str(ValueError(s)) + repr(ValueError(s)),
    "pickle": pickle.dumps,
    "asdict": lambda s: repr(dataclasses.asdict(TokenResponse(access_token=s))),
    "dataclass": lambda s: repr(TokenResponse(access_token=s, refresh_token=s, id_token=s)),
    "dir": lambda s: [repr(getattr(s, n)) for n in dir(s) if n not in ("_text", "reveal")],
}


@pytest.mark.parametrize("way", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("kind", [Secret, Sealed])
def test_a_secret_shows_nothing_of_itself(kind: type[Secret], way: Any) -> None:
    shown = way(kind(TEXT))
    text = shown.decode("latin-1") if isinstance(shown, bytes) else str(shown)
    assert TEXT not in text
    assert TEXT not in "".join(shown if isinstance(shown, list) else [text])


def test_only_reveal_gives_the_text() -> None:
    assert Secret(TEXT).reveal() == TEXT
    assert str(Secret(TEXT)) == MASK
    assert f"{Secret('')}" == MASK, "the mask does not tell an empty secret from another"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_secret_comes_back_without_its_text(protocol: int) -> None:
    there = pickle.dumps({"token": Secret(TEXT)}, protocol)
    assert TEXT.encode() not in there
    back = pickle.loads(there)["token"]
    assert isinstance(back, Secret)
    assert str(back) == MASK
    with pytest.raises(ValueError, match="pickle"):
        back.reveal()


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_same_secret(way: Callable[[Any], Any]) -> None:
    secret = Sealed(TEXT)
    assert way(secret) is secret
    assert way([secret])[0] is secret


def test_secrets_are_compared_by_what_they_hide() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret(f"{TEXT}-other")
    assert len({Secret(TEXT), Secret(TEXT), Secret("other")}) == 2


@pytest.mark.parametrize("text", [MASK, TEXT, "", None, b"x"])
def test_a_secret_is_never_equal_to_what_is_no_secret(text: Any) -> None:
    assert Secret(TEXT) != text
    assert text != Secret(TEXT)
    assert text not in {Secret(TEXT): 1}


def test_a_secret_without_its_text_is_equal_only_to_itself() -> None:
    one, other = (pickle.loads(pickle.dumps(Secret(TEXT))) for _ in range(2))
    assert one == one
    assert one != other


def test_a_secret_logged_is_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("any").warning("token %s and %r", Secret(TEXT), Secret(TEXT))
    logging.getLogger("any").error("extra", extra={"token": Secret(TEXT)})
    assert TEXT not in caplog.text
    assert all(TEXT not in repr(vars(record)) for record in caplog.records)


def test_a_traceback_with_local_variables_shows_a_mask() -> None:
    def fails(token: Secret) -> None:
        held = {"authorization": token}
        raise RuntimeError(f"could not use {token} {held}")

    try:
        fails(Secret(TEXT))
    except RuntimeError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(report.format())
    assert "token = <Secret ***>" in shown
    assert TEXT not in shown


ROWS: dict[str, Callable[[ConnectedAccount], Any]] = {
    "model_to_dict": model_to_dict,
    "serializer json": lambda a: serializers.serialize("json", [a]),
    "serializer xml": lambda a: serializers.serialize("xml", [a]),
    "serializer python": lambda a: serializers.serialize("python", [a]),
    "values": lambda a: list(ConnectedAccount.objects.values()),
    "values_list": lambda a: list(ConnectedAccount.objects.values_list("token")),
    "json of values": lambda a: json.dumps(list(ConnectedAccount.objects.values("token"))),
    "vars": vars,
    "repr": lambda a: f"{a!r} {a}",
    "pickle": lambda a: pickle.dumps(a).decode("latin-1"),
    "deepcopy": lambda a: vars(copy.deepcopy(a)),
}


@pytest.mark.parametrize("way", ROWS.values(), ids=ROWS)
def test_a_stored_account_shows_no_token(way: Any, make_account: Any) -> None:
    make_account(access_token=TEXT, refresh_token=f"{TEXT}-refresh")
    account = ConnectedAccount.objects.with_token().get()
    account.open_token()
    assert TEXT not in str(way(account))


@pytest.mark.parametrize("way", ["model_to_dict", "values", "json of values", "vars", "pickle"])
def test_not_even_the_ciphertext_gets_out_by_accident(way: str, make_account: Any) -> None:
    ciphertext = make_account().token.reveal()
    account = ConnectedAccount.objects.with_token().get()
    assert ciphertext not in str(ROWS[way](account))
