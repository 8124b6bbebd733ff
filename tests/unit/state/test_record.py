"""The written form of the kept state: read back exactly, refused when broken, sealed with a key."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import SecretError, StateError, UsageError
from runner.models import AuthenticationToken, UserSession
from runner.state.record import AccountState, Codec
from tests.support.sessions import session

KEY = base64.b64encode(bytes(range(32))).decode()
NOW = 1_800_000_000.0
OTHER = base64.b64encode(os.urandom(32)).decode()
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SENT = st.text(st.characters(min_codepoint=32, max_codepoint=126))  # what a header may hold
MAYBE, TIMES = st.none() | TEXT, st.floats(0, 1e11)
TOKENS = st.builds(AuthenticationToken, TEXT, SENT, MAYBE, SENT, st.none() | TIMES, MAYBE, TIMES, TIMES, st.booleans())
SESSIONS = st.builds(
    UserSession, TOKENS, TEXT, MAYBE, MAYBE, st.none() | TIMES, st.booleans(), TIMES, TIMES, st.dictionaries(TEXT, SENT),
)  # fmt: skip
STATES = st.builds(
    AccountState, session=st.none() | SESSIONS, last_step=st.none() | st.integers(0, 10**11), failures=st.integers(0, 9**9),
    cooldown_until=TIMES, skew=st.floats(-3600, 3600), assume_used_until=TIMES, used_refresh_token=MAYBE, since=TIMES,
    answered=st.booleans(), refused_cause=TEXT, refused_secrets=TEXT, refused_at=TIMES, session_login=TEXT, blocked=st.booleans(),
    doubts=st.integers(0, 9**9), unknown=st.dictionaries(st.just("later"), TEXT | st.lists(TEXT)),
)  # fmt: skip


@given(STATES)
def test_what_is_written_is_read_back_exactly(stored: AccountState) -> None:
    assert Codec().decode(Codec().encode(stored)) == stored
    sealed = Codec([KEY])
    assert sealed.decode(sealed.encode(stored)) == stored


@given(
    st.binary(max_size=200)
    | STATES.map(Codec().encode).flatmap(lambda raw: st.integers(0, len(raw) - 1).map(lambda n: raw[:n]))
)
def test_anything_else_is_refused_and_breaks_nothing(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Codec().decode(raw)


def test_a_sealed_state_shows_nothing_and_can_not_be_changed() -> None:
    raw = Codec([KEY]).encode(AccountState(session("the-access-token", refresh_token="the-refresh-token")))
    assert b"the-" not in raw
    assert b"token" not in raw.replace(b"gAAAA", b"")
    sealed = json.loads(raw)
    flipped = sealed["sealed"][:50] + ("A" if sealed["sealed"][50] != "A" else "B") + sealed["sealed"][51:]
    with pytest.raises(SecretError, match="another key, or was changed"):
        Codec([KEY]).decode(json.dumps({**sealed, "sealed": flipped}).encode())


def test_the_key_can_be_rotated_and_a_wrong_or_missing_one_is_told() -> None:
    old = Codec([OTHER]).encode(AccountState(last_step=7))
    assert Codec([KEY, OTHER]).decode(old) == AccountState(last_step=7)
    assert Codec([KEY]).decode(Codec([KEY, OTHER]).encode(AccountState(last_step=8))) == AccountState(last_step=8)
    with pytest.raises(SecretError, match="another key"):
        Codec([KEY]).decode(old)
    with pytest.raises(SecretError, match="mount its key as the secret `state_key`"):
        Codec().decode(old)


def test_a_plain_state_is_taken_over_when_a_key_is_given() -> None:
    assert Codec([KEY]).decode(Codec().encode(AccountState(last_step=7))) == AccountState(last_step=7)


@pytest.mark.parametrize("key", ["", "short", "A" * 43 + "!", base64.b64encode(bytes(16)).decode(), KEY + ",x"])
def test_a_key_that_can_not_be_used_says_how_to_make_one(key: str) -> None:
    with pytest.raises(SecretError, match="openssl rand -base64 32") as caught:
        Codec(key.split(","))
    assert key == "" or key not in str(caught.value)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(UsageError) as caught:
        Codec([KEY])
    told = "state_key: encryption needs an extra package: pip install 'sync-runner[encryption]'"
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "field", ["last_step", "failures", "cooldown_until", "skew", "assume_used_until", "used_refresh_token"]
)
def test_a_field_of_another_type_is_refused(field: str) -> None:
    written = json.loads(Codec().encode(AccountState(session("token"))))
    values: tuple[Any, ...] = ([], {}, "text" if field != "used_refresh_token" else 5)
    for value in values:
        with pytest.raises(ValueError):
            Codec().decode(json.dumps({**written, field: value}).encode())


@pytest.mark.parametrize(
    "field", ["access_token", "token_type", "refresh_token", "expires_at", "created_at", "mfa_verified"]
)
def test_a_field_of_the_session_of_another_type_is_refused(field: str) -> None:
    written = json.loads(Codec().encode(AccountState(session("token"))))
    with pytest.raises(ValueError):
        kept = written["session"]
        changed: dict[str, Any] = {"token": {**kept["token"], field: []}} if field in kept["token"] else {field: []}
        Codec().decode(json.dumps({**written, "session": {**kept, **changed}}).encode())


def test_nothing_is_no_number() -> None:
    written = json.loads(Codec().encode(AccountState()))
    with pytest.raises(ValueError):
        Codec().decode(json.dumps({**written, "failures": None}).encode())
    assert Codec().decode(json.dumps({**written, "skew": 5, "last_step": None}).encode()) == AccountState(skew=5.0)


def test_the_written_form_names_its_schema_sealed_or_not() -> None:
    assert json.loads(Codec().encode(AccountState()))["schema"] == 1
    assert json.loads(Codec([KEY]).encode(AccountState())).keys() == {"schema", "sealed"}
    assert json.loads(Codec([KEY]).encode(AccountState()))["schema"] == 1


def test_a_key_may_be_written_in_either_alphabet_with_spaces_around() -> None:
    raw = b"\xfb\xff" * 16
    sealed = Codec([base64.b64encode(raw).decode()]).encode(AccountState(last_step=7))
    assert Codec([f" {base64.urlsafe_b64encode(raw).decode()} "]).decode(sealed) == AccountState(last_step=7)


def test_each_fault_of_a_key_says_what_to_do() -> None:
    sealed = Codec([KEY]).encode(AccountState())
    for codec, told in (
        (Codec(), "the stored session is encrypted; mount its key as the secret `state_key`"),
        (
            Codec([OTHER]),
            (
                "the stored session is encrypted with another key, or was changed; mount its key as the secret "
                "`state_key` (old keys may follow the new one, separated by commas), or remove the session"
            ),
        ),
    ):
        with pytest.raises(SecretError) as caught:
            codec.decode(sealed)
        assert str(caught.value) == told
    with pytest.raises(SecretError) as unfit:
        Codec(["*" * 44])
    assert str(unfit.value) == "state_key: not 32 bytes in Base64; create one with `openssl rand -base64 32`"
    with pytest.raises(SecretError):
        Codec([KEY[:20] + "\n*" + KEY[20:]])


def test_a_session_of_an_older_version_is_read() -> None:
    older = {
        "access_token": "a", "token_type": "Bearer", "refresh_token": "r", "expires_at": 9.0, "created_at": 1.0,
        "last_used_at": 2.0, "session_id": None, "user_id": "u", "scope": None, "mfa_verified": True, "carried": {},
    }  # fmt: skip
    written = json.loads(Codec().encode(AccountState())) | {"session": older}
    read = Codec().decode(json.dumps(written).encode()).session
    assert read == UserSession(
        AuthenticationToken("", "a", "u", created_at=1.0, last_used_at=2.0, mfa_verified=True),
        user_id="u", refresh_token="r", expires_at=9.0, mfa_enabled=True, created_at=1.0, last_used_at=2.0,
    )  # fmt: skip


def test_what_a_newer_version_added_is_kept_and_what_it_changed_says_how_to_go_back() -> None:
    written = json.loads(Codec().encode(AccountState(last_step=7))) | {"schema": 2, "later": {"a": [1]}}
    read = Codec().decode(json.dumps(written).encode())
    assert read.last_step == 7
    assert json.loads(Codec().encode(read))["later"] == {"a": [1]}
    with pytest.raises(StateError) as caught:
        Codec().decode(json.dumps(written | {"last_step": {"seed": 7}}).encode())
    told = "a newer sync-runner wrote it (schema 2, this version knows 1); use that version, or remove it to log in"
    assert str(caught.value).startswith(told)


def test_a_cool_down_from_a_clock_that_was_ahead_lasts_no_longer_than_the_longest() -> None:
    ahead = AccountState(failures=3, cooldown_until=NOW + 1e6, assume_used_until=NOW + 1e6)
    assert ahead.believable(NOW) == AccountState(failures=3, cooldown_until=NOW + 6 * 3600, assume_used_until=NOW)
    usual = AccountState(cooldown_until=NOW + 300, assume_used_until=NOW)
    assert usual.believable(NOW) is usual
