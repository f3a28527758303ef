"""Requests that differ in one value are made from one of them, and are the same as made anew."""

from typing import Any

import pytest
import requests

from connected_accounts.oauth2.event_loop.exchange import Exchange, Template

URL = "http://127.0.0.1:9/token?tenant=a"
PLAIN, SHORT, LONG, ODD = "1-abc.def_~", "x9", "q" * 4000, "1//a+b c=&%ü"


def exchange(value: str, *, begin_before: float = 1.0, **fields: str) -> Exchange:
    data = {"grant_type": "refresh_token", "refresh_token": value, "client_secret": "s&s", **fields}
    request = requests.Request("POST", URL, data=data, headers={"Authorization": "Basic abc"})
    return Exchange.of(request, public=True, begin_before=begin_before)


@pytest.mark.parametrize("first", [PLAIN, SHORT, LONG, ODD])
@pytest.mark.parametrize("second", [PLAIN, SHORT, LONG, ODD])
def test_one_that_is_filled_in_is_the_request_made_anew(first: str, second: str) -> None:
    template = Template.of(exchange(first), first)
    assert template is not None
    filled, anew = template.filled(second, begin_before=7.0), exchange(second, begin_before=7.0)
    for name in ("origin", "data", "public", "begin_before", "begun_at", "outcome"):
        assert getattr(filled, name) == getattr(anew, name)


@pytest.mark.parametrize(
    ("value", "fields"),
    [("refresh", {}), ("token", {}), (PLAIN, {"id_token": PLAIN}), (PLAIN, {"scope": f"{PLAIN}x"})],
    ids=["in a name", "in a value", "twice", "in another"],
)
def test_letters_that_stand_twice_make_no_template(value: str, fields: dict[str, str]) -> None:
    assert Template.of(exchange(value, **fields), value) is None


def test_a_value_that_is_not_there_makes_no_template() -> None:
    assert Template.of(exchange(PLAIN), "another") is None


def test_nothing_secret_is_shown() -> None:
    template: Any = Template.of(exchange(PLAIN), PLAIN)
    shown = repr(template) + repr(template.filled(PLAIN, begin_before=1.0))
    assert not any(secret in shown for secret in (PLAIN, "s%26s", "abc"))
