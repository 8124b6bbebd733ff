"""Generates the random values of one login: `random.state`, `random.nonce`, PKCE's verifier and challenge (RFC 7636, S256)."""

import base64
import hashlib
import secrets

NAMES = frozenset({"random.state", "random.nonce", "pkce.verifier", "pkce.challenge"})


def random_values() -> dict[str, str]:
    """Returns new values by the names that templates use."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return {
        "random.state": secrets.token_urlsafe(16),
        "random.nonce": secrets.token_urlsafe(16),
        "pkce.verifier": verifier,
        "pkce.challenge": challenge,
    }
