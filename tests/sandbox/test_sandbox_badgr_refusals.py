"""The sandbox's Badgr refuses in Badgr's own words."""

from typing import Any

import pytest
import requests

from tests.sandbox.badgr_and_bitbadges import (
    BADGR_CALLBACK,
    BADGR_CLIENT,
    BITBADGES_CLIENT,
    Person,
    Sandbox,
    badgr_exchange,
)
from tests.sandbox.sandbox_client import callback_parameters, wait_for

CODE_GRANT = {"grant_type": "authorization_code", "code": "x", "redirect_uri": BADGR_CALLBACK}


def test_a_refusal_at_badgr_comes_back_in_its_own_words(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    page = ada.open(
        "/badgr/auth/oauth2/authorize",
        client_id="badgr-demo",
        redirect_uri=BADGR_CALLBACK,
        state="s-2",
    )
    assert callback_parameters(ada.answer(page, deny="true")) == {
        "error": "access_denied",
        "error_code": "200",
        "error_description": "Permissions error",
        "error_reason": "user_denied",
        "state": "s-2",
    }


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:8001/connections/badgr/callback/",
        f"{BADGR_CALLBACK}?next=/",
        "https://elsewhere.example/connections/badgr/callback/",
    ],
)
def test_a_redirect_uri_that_is_not_registered_is_refused_on_the_page(
    sandbox: Sandbox, redirect_uri: str
) -> None:
    page = Person(sandbox).open(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=redirect_uri
    )
    assert page.status_code == 400
    assert "cannot be answered" in page.text


def test_a_dead_token_gets_badgrs_envelope(sandbox: Sandbox) -> None:
    answer = sandbox.badgr_self("dead")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/ld+json"
    assert answer.json() == {
        "status": {"success": False, "description": "no valid auth token found"},
        "result": [],
        "fieldErrors": {},
        "validationErrors": [],
    }


@pytest.mark.parametrize(
    ("options", "status", "content_type", "body"),
    [
        pytest.param(
            {"data": CODE_GRANT, "auth": ("badgr-demo", "wrong")},
            400,
            "text/html",
            {"error": "invalid client_secret"},
            id="wrong secret by Basic",
        ),
        pytest.param(
            {"data": CODE_GRANT, "auth": ("%62adgr-demo", "badgr-demo-secret")},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="Basic is not percent-decoded",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"client_secret": "wrong"}},
            401,
            "application/json",
            {"error": "invalid_client"},
            id="wrong secret in the body",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"client_id": "unknown"}},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="unknown client",
        ),
        pytest.param(
            {"data": CODE_GRANT | BITBADGES_CLIENT},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="client of the other provider",
        ),
        pytest.param(
            {"data": CODE_GRANT},
            400,
            "application/json",
            {"error": "invalid_grant"},
            id="no client",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT},
            400,
            "application/json",
            {"error": "invalid_grant"},
            id="unknown code",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"scope": "rw:everything"}},
            400,
            "text/html",
            {"error": "invalid scope requested"},
            id="unknown scope",
        ),
        pytest.param(
            {"json": CODE_GRANT | BADGR_CLIENT},
            400,
            "application/json",
            {
                "error": "invalid_request",
                "error_description": "Request is missing username parameter.",
            },
            id="JSON body",
        ),
        pytest.param(
            {"data": {"grant_type": "client_credentials"} | BADGR_CLIENT},
            400,
            "application/json",
            {"error": "unauthorized_client"},
            id="client credentials",
        ),
    ],
)
def test_badgr_words_its_refusals(
    sandbox: Sandbox,
    options: dict[str, Any],
    status: int,
    content_type: str,
    body: dict[str, str],
) -> None:
    answer = requests.post(f"{sandbox.url}/badgr/o/token", timeout=5, **options)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == body


def test_badgr_refuses_a_query_string_and_takes_a_trailing_slash(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/badgr/o/token"
    answer = requests.post(f"{url}?code=x", data=CODE_GRANT | BADGR_CLIENT, timeout=5)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.json()["error"].startswith("Token grant parameters must be sent in post body")
    slashed = requests.post(f"{url}/", data=CODE_GRANT | BADGR_CLIENT, timeout=5)
    assert slashed.json() == {"error": "invalid_grant"}


def test_badgr_compares_the_redirect_uri_of_the_exchange(sandbox: Sandbox) -> None:
    code = Person(sandbox).allow(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=BADGR_CALLBACK
    )["code"]
    other = "http://localhost:8000/connections/badgr/callback/"
    answer = sandbox.badgr_token(badgr_exchange(code, redirect_uri=other))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_request",
        "error_description": "Mismatching redirect URI.",
    }


def behind(strict_sandbox: Sandbox, address: str, data: dict[str, str]) -> requests.Response:
    """A token request that came through proxies, from that address in the first place."""
    headers = {"X-Forwarded-For": f"{address}, 10.0.0.1"}
    return strict_sandbox.post("/badgr/o/token", data, headers=headers)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(CODE_GRANT | BADGR_CLIENT, 400, id="dead code"),
        pytest.param(CODE_GRANT | BADGR_CLIENT | {"client_secret": "x"}, 401, id="wrong secret"),
        pytest.param(CODE_GRANT | {"client_id": "unknown"}, 400, id="unknown client"),
        pytest.param(CODE_GRANT | BADGR_CLIENT | {"scope": "x"}, 400, id="unknown scope"),
        pytest.param({"grant_type": "x"} | BADGR_CLIENT, 400, id="unknown grant type"),
    ],
)
def test_any_refusal_locks_its_address_and_no_other(
    strict_sandbox: Sandbox, data: dict[str, str], status: int, request: pytest.FixtureRequest
) -> None:
    token = Person(strict_sandbox).connect_badgr()["refresh_token"]
    good = {"grant_type": "refresh_token", "refresh_token": token} | BADGR_CLIENT
    mine, other = (f"{kind} {request.node.callspec.id}" for kind in ("mine", "other"))
    assert behind(strict_sandbox, mine, data).status_code == status
    locked = behind(strict_sandbox, mine, good)
    assert (locked.status_code, locked.json()["expires"]) == (429, 2)
    assert locked.headers["Cache-Control"] == "no-store"
    assert behind(strict_sandbox, other, good).status_code == 200


def test_the_lock_tells_its_whole_step_and_doubles_until_a_success(
    strict_sandbox: Sandbox,
) -> None:
    token = Person(strict_sandbox).connect_badgr()["refresh_token"]
    good = {"grant_type": "refresh_token", "refresh_token": token} | BADGR_CLIENT
    told: set[int] = set()
    told: set[int] = set()

    def ask(data: dict[str, str]) -> int:
        """The status; 0 while the address is locked, with the seconds in ``told``."""
        answer = behind(strict_sandbox, "a patient one", data)
        if answer.status_code != 429:
            return answer.status_code
        told.add(answer.json()["expires"])
        return 0

    bad = CODE_GRANT | BADGR_CLIENT
    assert ask(bad) == 400
    assert wait_for(lambda: ask(bad)) == 400
    assert told == {2}  # never what is left of it
    assert wait_for(lambda: ask(good)) == 200
    assert told == {2, 4}
    told.clear()
    assert ask(bad) == 400
    assert (ask(bad), told) == (0, {2})


def test_the_throttle_locks_every_client_out_after_an_invalid_grant(
    strict_sandbox: Sandbox,
) -> None:
    token = Person(strict_sandbox).connect_badgr()["refresh_token"]
    assert strict_sandbox.badgr_token(CODE_GRANT | BADGR_CLIENT).status_code == 400
    throttled = strict_sandbox.badgr_refresh(token)
    assert throttled.status_code == 429
    assert throttled.headers["Content-Type"].startswith("text/html")
    assert "Retry-After" not in throttled.headers
    assert throttled.json() == {
        "error_description": "Too many login attempts. Please wait and try again.",
        "error": "login attempts throttled",
        "expires": 2,
    }
    assert wait_for(lambda: strict_sandbox.badgr_refresh(token).status_code == 200)
