"""The sandbox's process, and what its authorization servers do with one another's grants."""

import signal
from pathlib import Path

import requests

from tests.sandbox.badgr_and_bitbadges import Person, Sandbox


def test_it_stops_with_0_when_told_to_and_remembers_its_grants(tmp_path: Path) -> None:
    first = Sandbox.start(tmp_path)
    try:
        token = Person(first).connect_badgr()
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(timeout=5) == 0
    finally:
        first.stop()

    second = Sandbox.start(tmp_path)
    try:
        assert second.badgr_self(token["access_token"]).status_code == 200
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(timeout=5) == 0
    finally:
        second.stop()
    assert (tmp_path / "server.log").read_text().splitlines() == [f"sandbox ready on {second.url}"]


def test_the_state_tells_no_secrets(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()
    answer = requests.get(f"{sandbox.url}/sandbox/state", timeout=5).text
    assert token["access_token"] not in answer
    assert token["refresh_token"] not in answer
    assert "secret" not in answer


def test_a_token_of_one_provider_is_nothing_to_the_other(sandbox: Sandbox) -> None:
    badgr = Person(sandbox).connect_badgr()
    bitbadges = Person(sandbox).connect_bitbadges()
    assert sandbox.badgr_self(bitbadges["access_token"]).status_code == 401
    status = sandbox.bitbadges("auth/status", {}, badgr["access_token"])
    assert status.json() == {"signedIn": False, "message": "Not signed in.", "scopes": []}
    assert sandbox.badgr_refresh(bitbadges["refresh_token"]).status_code == 400
    assert sandbox.bitbadges_refresh(bitbadges["refresh_token"]).status_code == 200


def test_a_person_can_end_the_connection_at_the_provider(sandbox: Sandbox) -> None:
    grace = Person(sandbox, "grace")
    badgr, bitbadges = grace.connect_badgr(), grace.connect_bitbadges()
    url = f"{sandbox.url}/sandbox/users/grace/revoke/bitbadges"
    assert requests.post(url, timeout=5).json()["revoked"] >= 1
    assert "grace" not in sandbox.state("bitbadges")["alive_by_user"]
    assert sandbox.bitbadges_refresh(bitbadges["refresh_token"]).status_code == 500
    assert sandbox.badgr_refresh(badgr["refresh_token"]).status_code == 200
    assert (
        requests.post(f"{sandbox.url}/sandbox/users/nobody/revoke/badgr", timeout=5).status_code
        == 404
    )
