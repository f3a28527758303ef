"""The state parameter and the code verifier: made here, and only here."""

import re
from collections.abc import Callable

import pytest
from django.core import signing
from django.test import override_settings

from connected_accounts.exceptions import InvalidState
from connected_accounts.oauth2 import pkce, state

URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


# --- PKCE ---------------------------------------------------------------------------------------


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce.code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_thousand_verifiers_are_all_different_and_valid() -> None:
    verifiers = [pkce.new_code_verifier() for _ in range(1000)]
    assert len(set(verifiers)) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) for verifier in verifiers)
    challenges = {pkce.code_challenge(verifier) for verifier in verifiers}
    assert len(challenges) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge) for challenge in challenges)


# --- Nonces -------------------------------------------------------------------------------------


def test_a_thousand_nonces_are_all_different_and_of_one_form() -> None:
    nonces = [state.new_secret() for _ in range(1000)]
    assert len(set(nonces)) == 1000
    assert all(state.is_secret(nonce) for nonce in nonces)


OTHER_FORMS = ["", "a" * 42, "a" * 44, "a" * 43 + "\n", "٣" * 43]
OTHER_FORMS += ["a" * 42 + character for character in "=.é "]


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_what_has_another_form_is_no_nonce(text: str) -> None:
    assert not state.is_secret(text)


# --- State --------------------------------------------------------------------------------------


def test_a_signed_nonce_is_read_back() -> None:
    nonce = state.new_secret()
    assert state.read(state.sign(nonce)) == nonce


def test_a_state_holds_the_nonce_and_a_signature_and_nothing_else() -> None:
    nonce = state.new_secret()
    first, _, signature = state.sign(nonce).partition(".")
    assert first == nonce
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", signature)
    assert state.sign(nonce) == state.sign(nonce), "no time and no person in it"
    assert len(state.sign(nonce)) <= state.MAX_LENGTH


def test_a_change_of_any_character_is_refused() -> None:
    good = state.sign(state.new_secret())
    for position, character in enumerate(good):
        for other in {URL_SAFE[(URL_SAFE.find(character) + 1) % 64], ".", "A", "=", "é"}:
            if other == character:
                continue
            with pytest.raises(InvalidState) as caught:
                state.read(good[:position] + other + good[position + 1 :])
            assert caught.value.code == "malformed"


def test_a_state_cut_short_or_made_longer_is_refused() -> None:
    good = state.sign(state.new_secret())
    wrong = [good[:end] for end in range(len(good))]
    wrong += [good + "A", good + ".", good + " ", good + "\n", " " + good, good + "." + good]
    for text in wrong:
        with pytest.raises(InvalidState):
            state.read(text)


def test_the_signature_of_one_state_does_not_fit_another_nonce() -> None:
    signature = state.sign(state.new_secret()).partition(".")[2]
    with pytest.raises(InvalidState):
        state.read(f"{state.new_secret()}.{signature}")


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "\x00", "%00", "💥", "\ud800.\ud800", "null", "{}", "a" * 513, "." * 512],
    ids=repr,
)
def test_nonsense_is_malformed(text: str) -> None:
    with pytest.raises(InvalidState) as caught:
        state.read(text)
    assert caught.value.code == "malformed"
    assert len(text) < 4 or text not in str(caught.value)


def test_a_state_that_is_too_long_is_refused_though_its_signature_is_good() -> None:
    text = state.sign("a" * (state.MAX_LENGTH - 10))
    assert len(text) > state.MAX_LENGTH
    with pytest.raises(InvalidState):
        state.read(text)


@pytest.mark.parametrize("nonce", ["", "ada", "a" * 42, "user:1", "a" * 43 + "\n"])
def test_a_good_signature_over_something_else_is_refused(nonce: str) -> None:
    with pytest.raises(InvalidState):
        state.read(state.sign(nonce))


NONCE = "n" * 43
OTHERS = {
    "Signer": lambda: signing.Signer().sign(NONCE),
    "Signer with a point": lambda: signing.Signer(sep=".").sign(NONCE),
    "a salt of another use": lambda: signing.Signer(sep=".", salt="other").sign(NONCE),
    "TimestampSigner": lambda: signing.TimestampSigner(sep=".").sign(NONCE),
    "our salt with a time": lambda: signing.TimestampSigner(sep=".", salt=state._SALT).sign(NONCE),
    "dumps": lambda: signing.dumps(NONCE),
    "dumps with our salt": lambda: signing.dumps(NONCE, salt=state._SALT),
    "cookie": lambda: signing.get_cookie_signer(salt="sessionid").sign(NONCE),
    "another key": lambda: signing.Signer(key="other", sep=".", salt=state._SALT).sign(NONCE),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_the_site_signed_for_another_use_is_refused(make: Callable[[], str]) -> None:
    with pytest.raises(InvalidState):
        state.read(make())


def test_a_flow_started_before_the_secret_key_was_rotated_is_finished() -> None:
    with override_settings(SECRET_KEY="old"):
        started = state.sign(NONCE)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert state.read(started) == NONCE
    with override_settings(SECRET_KEY="new"), pytest.raises(InvalidState):
        state.read(started)
