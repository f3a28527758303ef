"""Reading a token answer: of any document there comes a checked answer, or one error."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.token import (
    MAX_LIFE,
    MAX_TOKEN,
    TokenResponse,
    parse_json,
    read_scope,
    read_token_response,
)

SENT = datetime(2026, 1, 1, tzinfo=UTC)


def answer(**values: Any) -> dict[str, Any]:
    return {"access_token": "abc", "token_type": "Bearer"} | values


# --- Lives --------------------------------------------------------------------------------------

LIVES: list[tuple[Any, int | None]] = [
    (3600, 3600),
    ("3600", 3600),
    (3600.9, 3600),
    ("3600.5", 3600),
    (1, 1),
    (0.5, 1),
    # Nobody gives a token that has expired: these say that it has no end.
    (0, None),
    (-0.0, None),
    ("0", None),
    (-5, None),
    ("-5", None),
    (10**30, MAX_LIFE),
    (10**400, MAX_LIFE),
    (-(10**400), None),
    (1e300, MAX_LIFE),
    ("1" + "0" * 30, MAX_LIFE),
    (float("inf"), None),
    (float("nan"), None),
    ("inf", None),
    ("nan", None),
    ("1e999", None),
    ("9" * 5000, None),
    (True, None),
    (False, None),
    (None, None),
    ("", None),
    (" ", None),
    ("abc", None),
    ("0x10", None),
    ("1:00", None),
    ([], None),
    ([3600], None),
    ({}, None),
]


@pytest.mark.parametrize("name", ["expires_in", "refresh_token_expires_in"])
@pytest.mark.parametrize(("given_life", "life"), LIVES, ids=lambda v: repr(v)[:24])
def test_a_life_is_whole_seconds_within_ten_years_or_unknown(
    name: str, given_life: Any, life: int | None
) -> None:
    response = read_token_response(answer(**{name: given_life}))
    assert getattr(response, name) == life


def test_a_life_that_is_missing_is_unknown() -> None:
    response = read_token_response(answer())
    assert response.expires_in is None
    assert response.expires_at(SENT) is None
    assert response.refresh_token_expires_at(SENT) is None


def test_a_body_with_1e999_has_an_unknown_life() -> None:
    body = b'{"access_token": "a", "expires_in": 1e999}'
    assert read_token_response(parse_json(body)).expires_in is None


@pytest.mark.parametrize("seconds", [1, 3600, MAX_LIFE, 10**30])
def test_the_end_is_counted_from_the_moment_of_sending(seconds: int) -> None:
    response = read_token_response(answer(expires_in=seconds, refresh_token_expires_in=seconds))
    assert response.expires_at(SENT) == SENT + timedelta(seconds=min(seconds, MAX_LIFE))
    assert response.refresh_token_expires_at(SENT) == response.expires_at(SENT)


# --- Tokens -------------------------------------------------------------------------------------

ODD_TOKENS: list[Any] = [
    12,
    0,
    1.5,
    True,
    False,
    [],
    ["abc"],
    {},
    {"value": "abc"},
    " abc",
    "abc ",
    "a c",
    "abc\n",
    "a\r\nX-Header: 1",
    "a\x00b",
    "\x7f",
    "漢",
    "é",
    "\ud800",
    "a" * (MAX_TOKEN + 1),
]


@pytest.mark.parametrize("name", ["access_token", "refresh_token", "id_token"])
@pytest.mark.parametrize("token", ODD_TOKENS, ids=lambda v: repr(v)[:20])
def test_a_token_that_no_header_could_carry_is_refused(name: str, token: Any) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        read_token_response(answer(**{name: token}))
    assert caught.value.code == "token_characters"
    if isinstance(token, str) and len(token) > 3:
        assert token not in str(caught.value)


@pytest.mark.parametrize("values", [{"access_token": None}, {"access_token": ""}], ids=repr)
def test_an_answer_without_an_access_token_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        read_token_response(answer(**values))
    assert caught.value.code == "access_token"
    missing = answer()
    del missing["access_token"]
    with pytest.raises(UnexpectedResponse):
        read_token_response(missing)


@pytest.mark.parametrize("token", ["a", "a" * MAX_TOKEN, "".join(map(chr, range(0x21, 0x7F)))])
def test_every_visible_ascii_token_is_taken_as_it_is(token: str) -> None:
    response = read_token_response(answer(access_token=token, refresh_token=token, id_token=token))
    assert response.access_token.reveal() == token
    assert response.refresh_token is not None
    assert response.refresh_token.reveal() == token


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_refresh_token_is_none(empty: str | None) -> None:
    assert read_token_response(answer(refresh_token=empty)).refresh_token is None


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_bearer_in_any_case(token_type: str) -> None:
    assert read_token_response(answer(token_type=token_type)).token_type == "Bearer"


@pytest.mark.parametrize("token_type", ["mac", "DPoP", "", "Bearer ", 1, [], ["Bearer"], True])
def test_another_token_type_is_refused(token_type: Any) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        read_token_response(answer(token_type=token_type))
    assert caught.value.code == "token_type"


def test_a_missing_token_type_is_bearer() -> None:
    assert read_token_response({"access_token": "a"}).token_type == "Bearer"


@pytest.mark.parametrize("named", ["bot", "Bot"])  # upper and lower case are one (RFC 6749 5.1)
def test_a_provider_may_name_other_token_types(named: str) -> None:
    token = read_token_response(answer(token_type="bot"), token_types=("bearer", named))
    assert token.access_token.reveal()


# --- Scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "separator", "expected"),
    [
        ("a b", " ", ("a", "b")),
        ("  a   b\ta ", " ", ("a", "b")),
        ("Read Profile,Complete Claims", ",", ("Read Profile", "Complete Claims")),
        (" a ,, b ", ",", ("a", "b")),
        (["a", "b c", "a"], " ", ("a", "b c")),
        (["a", None, 1, "b", ""], " ", ("a", "b")),
        ("", " ", ()),
        (" ", " ", ()),
        (",", ",", ()),
        ([], " ", ()),
        (None, " ", None),
        (12, " ", None),
        ({"a": 1}, " ", None),
        (True, " ", None),
    ],
)
def test_scopes_are_read_from_text_and_lists(
    scope: Any, separator: str, expected: tuple[str, ...] | None
) -> None:
    assert read_scope(scope, separator) == expected


@pytest.mark.parametrize("scope", ["a\x00b", "\ud800", "a\x1bb"])
def test_a_scope_that_could_not_be_stored_is_not_passed_on(scope: str) -> None:
    try:
        scopes = read_token_response(answer(scope=["good", scope])).scope or ()
    except UnexpectedResponse:
        return
    assert scope not in scopes


def test_a_scope_that_differs_from_the_one_asked_for_is_read_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    assert read_token_response(answer(scope="other scopes")).scope == ("other", "scopes")
    assert not caplog.records


# --- Anything -----------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS | st.integers(min_value=10**300, max_value=10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["access_token", "refresh_token", "token_type", "expires_in", "scope", "id_token"]
ANSWERS = st.dictionaries(
    st.sampled_from([*NAMES, "refresh_token_expires_in", "error"]), VALUES
).map(lambda values: {"access_token": "abc", "token_type": "bearer"} | values)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(ANSWERS)
def test_any_document_is_an_answer_or_an_unexpected_response(payload: dict[str, Any]) -> None:
    try:
        response = read_token_response(payload)
    except UnexpectedResponse as error:
        code = error.code
    else:
        code = "token_type"
        assert isinstance(response, TokenResponse)
        response.expires_at(SENT)
        response.refresh_token_expires_at(SENT)
    assert code in ("token_type", "access_token", "token_characters")
