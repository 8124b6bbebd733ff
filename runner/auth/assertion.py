"""Creates a client's signed assertion (private_key_jwt: RFC 7523, 2.2), a new one per request: servers accept each once."""

import secrets
from typing import Any

from runner.errors import SecretError, UsageError

LIFETIME = 60  # seconds


def client_assertion(client_id: str, key: str, audience: str, now: float, key_id: str | None = None) -> str:
    """Returns the JWT for the server `audience`, signed with the private `key` (PEM: RSA, EC or Ed25519); `now`: Unix
    seconds.

    Raises SecretError for an unusable key, UsageError where PyJWT is not installed.
    """
    try:
        import jwt
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise UsageError(
            "this login signs its requests, which needs an extra package: pip install 'sync-runner[jwt]'"
        ) from None
    try:
        private: Any = load_pem_private_key(key.encode(), None)
        claims = {
            "iss": client_id, "sub": client_id, "aud": audience, "jti": secrets.token_urlsafe(24), "iat": int(now),
            "nbf": int(now) - LIFETIME, "exp": int(now) + LIFETIME,
        }  # fmt: skip
        return jwt.encode(claims, private, _algorithm(private), headers={"kid": key_id} if key_id else None)
    except (ValueError, TypeError, jwt.PyJWTError):
        raise SecretError(
            "the secret `client_key` is not a PEM private key without a passphrase (RSA, EC P-256, P-384, P-521 or Ed25519)"
        ) from None


def _algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[key.curve.key_size]
    raise TypeError
