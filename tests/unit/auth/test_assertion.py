"""Signed assertions of a client: what they say, by each kind of key, and new for each request."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from runner.auth.assertion import client_assertion
from runner.auth.browser import Browser
from runner.errors import SecretError, UsageError
from runner.http.client import Client, tls_context
from runner.http.retry import Policy
from runner.profile.loading import load_login
from tests.support.login_model import FakeClock

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "RS256": RSA, "ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}  # fmt: skip
TOKEN = "https://sso.example.org/realms/sync/token"


def pem(key: Any, encryption: Any = None) -> str:
    raw: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return raw.decode()


@pytest.mark.parametrize("algorithm", KEYS)
def test_each_kind_of_key_signs_for_one_server_for_a_minute(algorithm: str) -> None:
    token = client_assertion("runner", pem(KEYS[algorithm]), TOKEN, 1_800_000_000.7, "k1")
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    told = jwt.decode(token, KEYS[algorithm].public_key(), [algorithm], audience=TOKEN, options=options)
    assert (told["iss"], told["sub"], told["exp"], told["iat"]) == ("runner", "runner", 1_800_000_060, 1_800_000_000)


@pytest.mark.parametrize(
    "key", ["", "secret", pem(RSA).replace("M", "N", 3), pem(RSA, BestAvailableEncryption(b"x")), pem(ec.generate_private_key(ec.SECP256K1()))],
    ids=["empty", "no PEM", "spoiled", "encrypted", "another curve"],
)  # fmt: skip
def test_what_is_no_usable_key_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises((SecretError, UsageError)) as caught:
        client_assertion("runner", key, TOKEN, 0.0)
    assert "client_key" in str(caught.value)
    assert key[30:60] == "" or key[30:60] not in str(caught.value)


def test_each_request_has_an_assertion_of_its_own_for_its_address_by_the_servers_clock() -> None:
    auth, clock = load_login("oauth2-client-assertion").auth, FakeClock()
    address = "https://sso.example.org"
    client = Client(
        address, clock=clock, policy=Policy(1, 0.0, 0.0), request_timeout=3.0, tls=tls_context(address, None)
    )
    browser = Browser(auth, client, {}, clock)
    browser.skew = 100.0
    values = {"client_id": "runner", "client_key": pem(RSA), "params.token_path": "token"}
    sent = [browser.prepared("login", auth.steps["grant"].request, values).body for _ in range(2)]
    tokens = [(body or b"").decode().rpartition("client_assertion=")[2] for body in sent]
    told = [jwt.decode(token, options={"verify_signature": False}) for token in tokens]
    assert told[0]["jti"] != told[1]["jti"]
    assert told[0]["aud"] == "https://sso.example.org/token"
    assert told[0]["iat"] == clock.now + 100
