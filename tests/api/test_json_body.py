"""Reading a JSON body: of any bytes there comes a document, or one error without them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.token import parse_json, parse_json_object

MARK = "mArKeD-input"

NOT_JSON = {
    "empty": b"",
    "space": b"  \n",
    "truncated": b'{"access_token": "' + MARK.encode(),
    "cut in a key": b'{"access_token": "a", "' + MARK.encode(),
    "UTF-16": json.dumps({"access_token": MARK}).encode("utf-16"),
    "UTF-16 without a mark": json.dumps({"access_token": MARK}).encode("utf-16-le"),
    "Latin-1": b'{"access_token": "\xe9' + MARK.encode() + b'"}',
    "NaN": b'{"expires_in": NaN, "access_token": "' + MARK.encode() + b'"}',
    "Infinity": b'{"expires_in": -Infinity}',
    "duplicate keys": b'{"access_token": "a", "access_token": "' + MARK.encode() + b'"}',
    "duplicate keys within": b'{"a": [{"b": 1, "b": 2}]}',
    "something behind": b'{"access_token": "a"} ' + MARK.encode(),
    "two documents": b'{"access_token": "a"}{"access_token": "b"}',
    "JSONP": b'callback({"access_token": "' + MARK.encode() + b'"})',
    "form-encoded": b"access_token=" + MARK.encode() + b"&token_type=bearer",
    "HTML": b"<!doctype html><title>" + MARK.encode() + b"</title>",
    "single quotes": b"{'access_token': 'a'}",
    "a control character": b'{"access_token": "a\nb"}',
    "NUL behind": b'{"access_token": "a"}\x00',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "deep nesting of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of 5,000 digits": b'{"expires_in": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_one_error_without_the_body(body: bytes) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        parse_json(body)
    assert caught.value.code == "not_json"
    assert MARK not in f"{caught.value} {caught.value!r} {caught.value.args}"
    assert parse_json_object(body) is None


@pytest.mark.parametrize("name", ["truncated", "something behind", "JSONP", "Latin-1", "NaN"])
def test_the_error_does_not_carry_the_body_as_its_context(name: str) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        parse_json(NOT_JSON[name])
    assert caught.value.__cause__ is None
    # A JSONDecodeError keeps the whole document, for whoever follows the chain.
    assert MARK not in str(vars(caught.value.__context__ or Exception()))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("body", [b"[]", b"null", b"12", b'"text"', b"true", b"[{}]", b"1e999"])
def test_json_that_is_no_object_is_no_token_answer(body: bytes) -> None:
    parse_json(body)
    assert parse_json_object(body) is None


def test_a_byte_order_mark_is_let_through() -> None:
    assert parse_json(b'\xef\xbb\xbf{"access_token": "a"}') == {"access_token": "a"}


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_json_or_an_unexpected_response(body: bytes) -> None:
    code = "not_json"
    try:
        parse_json(body)
    except UnexpectedResponse as error:
        code = error.code
    assert code == "not_json"
