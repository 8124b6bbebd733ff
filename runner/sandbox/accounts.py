"""Logins of the sandbox: real password hashes, single-use one-time codes, signed tokens, rotating refresh tokens."""

import hashlib
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Callable
from typing import Any

from runner.sandbox.settings import SandboxSettings
from runner.sandbox.state import State

HASHES_AT_ONCE = 2  # each takes 64 MiB, and the sandbox of k8s/overlays/dev has 256 MiB


class Refusal(Exception):
    """A refused request: status and further fields of the body besides `success: false`."""

    def __init__(self, status: int, error: str, more: dict[str, Any] | None = None) -> None:
        """`more` is added to the body."""
        super().__init__(error)
        self.status, self.error, self.more = status, error, more or {}


class Accounts:
    """Users and their sessions."""

    def __init__(self, settings: SandboxSettings, state: State, now: Callable[[], float]) -> None:
        """`now` is the server's time in Unix seconds."""
        from argon2 import PasswordHasher

        fast = settings.kdf == "fast"
        self._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1) if fast else PasswordHasher()
        self._hashing = threading.Semaphore(HASHES_AT_ONCE)
        self._settings, self._state, self._now = settings, state, now
        self._state.run("INSERT OR IGNORE INTO meta VALUES ('key', ?)", secrets.token_bytes(32))
        key = self._state.one("SELECT value FROM meta WHERE name='key'")
        self._key: bytes = key["value"] if key else b""

    def put(self, username: str, password: str, totp_seed: str, mfa: str) -> None:
        """Adds a user, or gives an existing one new credentials."""
        with self._hashing:
            hashed = self._hasher.hash(password)
        self._state.run(
            "INSERT INTO users (id, username, password_hash, totp_seed, mfa) VALUES (?,?,?,?,?) ON CONFLICT (username) "
            "DO UPDATE SET password_hash=excluded.password_hash, totp_seed=excluded.totp_seed, mfa=excluded.mfa",
            str(uuid.uuid4()), username, hashed, totp_seed, mfa,
        )  # fmt: skip

    def login(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns tokens for correct credentials. Raises Refusal."""
        user = self._state.one("SELECT * FROM users WHERE username=?", body["username"])
        if user is None:
            raise Refusal(401, "wrong username or password")
        if user["locked_until"] > self._now():
            raise Refusal(423, "account locked after repeated failures")
        if not self._password_fits(user, body["password"]):
            self._failed(user)
            raise Refusal(401, "wrong username or password")
        if user["mfa"] != "none":
            self._second_factor(user, body)
        self._state.run("UPDATE users SET failures=0 WHERE id=?", user["id"])
        session = str(uuid.uuid4())
        self._state.run("INSERT INTO sessions (id, user_id) VALUES (?,?)", session, user["id"])
        return self._tokens(user, session)

    def _password_fits(self, user: sqlite3.Row, password: str) -> bool:
        from argon2.exceptions import VerificationError

        try:
            with self._hashing:
                return self._hasher.verify(user["password_hash"], password)
        except VerificationError:
            return False

    def _failed(self, user: sqlite3.Row) -> None:
        self._state.run("UPDATE users SET failures=failures+1 WHERE id=?", user["id"])
        self._state.run(
            "UPDATE users SET locked_until=?, failures=0 WHERE id=? AND failures>=?",
            self._now() + self._settings.lock_seconds, user["id"], self._settings.lock_after,
        )  # fmt: skip

    def _second_factor(self, user: sqlite3.Row, body: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {"mfa_required": True, "mfa_type": "sms" if user["mfa"] == "sms" else "totp"}
        given = body.get("mfa_code")
        if user["mfa"] == "challenge":
            known = body.get("mfa_challenge_id")
            if (
                not given
                or not known
                or not self._state.run("DELETE FROM challenges WHERE id=? AND user_id=?", known, user["id"])
            ):
                challenge = secrets.token_urlsafe(12)
                self._state.run("INSERT INTO challenges VALUES (?,?)", challenge, user["id"])
                raise Refusal(401, "a one-time code is wanted", {**wanted, "mfa_challenge_id": challenge})
        if not given or user["mfa"] == "sms":
            raise Refusal(401, "a one-time code is wanted", wanted)
        step = self._step_of(user, given)
        if step is None or not self._state.run(
            "UPDATE users SET last_step=? WHERE id=? AND last_step<?", step, user["id"], step
        ):
            self._failed(user)
            raise Refusal(401, "wrong or used one-time code", wanted)

    def _step_of(self, user: sqlite3.Row, given: str) -> int | None:
        """Returns the step of the code, within a window of one either way (RFC 6238, 5.2)."""
        import base64

        import pyotp

        key = base64.b32decode(user["totp_seed"] + "=" * (-len(user["totp_seed"]) % 8), casefold=True)
        otp = pyotp.OTP(base64.b32encode(key.ljust(20, b"\0")).decode())
        now = int(self._now() // 30)
        return next(
            (
                step
                for step in (now, now - 1, now + 1)
                if secrets.compare_digest(otp.generate_otp(step).encode(), given.encode())
            ),
            None,
        )

    def _tokens(self, user: sqlite3.Row, session: str) -> dict[str, Any]:
        import jwt

        refresh = secrets.token_urlsafe(32)
        self._state.run("INSERT INTO refresh_tokens (hash, session_id) VALUES (?,?)", _hash(refresh), session)
        lifetime = self._settings.access_token_seconds
        claims = {
            "sub": user["id"],
            "sid": session,
            "iat": self._now(),
            "end": self._now() + lifetime,
            "jti": str(uuid.uuid4()),
        }
        return {
            "success": True,
            "session_id": session,
            "access_token": jwt.encode(claims, self._key, "HS256"),
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": "sync",
            "mfa_required": user["mfa"] != "none",
            "user": {"id": user["id"], "username": user["username"]},
        }

    def refresh(self, token: str) -> dict[str, Any]:
        """Returns new tokens for a refresh token; a second use of one revokes the session. Raises Refusal."""
        row = self._state.one("SELECT * FROM refresh_tokens WHERE hash=?", _hash(token))
        if row is None:
            raise Refusal(401, "unknown refresh token")
        if not self._state.run("UPDATE refresh_tokens SET used=1 WHERE hash=? AND used=0", row["hash"]):
            self._state.run("UPDATE sessions SET revoked=1 WHERE id=?", row["session_id"])
            raise Refusal(401, "refresh token used twice: the session is revoked")
        user = self._state.one(
            "SELECT users.* FROM users JOIN sessions ON user_id=users.id WHERE sessions.id=? AND NOT revoked",
            row["session_id"],
        )
        if user is None:
            raise Refusal(401, "the session is revoked")
        return self._tokens(user, row["session_id"])

    def user_of(self, authorization: str) -> str:
        """Returns the user id of a valid bearer token. Raises Refusal."""
        import jwt

        kind, _, token = authorization.partition(" ")
        try:
            claims = (
                jwt.decode(token, self._key, ["HS256"], options={"verify_iat": False})
                if kind.lower() == "bearer"
                else None
            )
        except jwt.InvalidTokenError:
            claims = None
        if claims is None or claims["end"] <= self._now():
            raise Refusal(401, "no valid access token")
        good = self._state.one(
            "SELECT 1 FROM sessions WHERE id=? AND NOT revoked AND not_before<=?", claims["sid"], claims["iat"]
        )
        if good is None:
            raise Refusal(401, "the session has ended")
        return str(claims["sub"])

    def expire_all(self) -> None:
        """Ends every access token; refresh tokens stay valid."""
        self._state.run("UPDATE sessions SET not_before=?", self._now() + 0.000001)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
