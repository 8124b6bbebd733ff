"""Keycloak, from Maven Central, in its development mode. Its own events, brute-force records and sessions are the judge."""
# Decision 0168.

import base64
import json
import subprocess
import urllib.error
import urllib.request
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm

from tests.servers.processes import Program, answers
from tests.support.ports import free_port

VERSION = "26.7.3"
BUILD = Path(__file__).parents[2] / "build"
RAW = "12345678901234567890"  # Keycloak takes the characters themselves as the HMAC's key
SEED = base64.b32encode(RAW.encode()).decode()
STEP = 10  # seconds for which a code lasts: a runner without memory waits for the next one. The user `athlete` has 30 s
SHORT_SEED = f"otpauth://totp/sync?secret={SEED}&period={STEP}"
WRONG_SEED = f"otpauth://totp/sync?secret=JBSWY3DPEHPK3PXP&period={STEP}"
PASSWORD = "correct horse"
TOKEN_SECONDS = 30
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


SIGNS = rsa.generate_private_key(65537, 2048)  # of the client `signer`
SIGNING_KEY = SIGNS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_key() -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(SIGNS.public_key(), as_dict=True), "kid": "k1", "use": "sig", "alg": "RS256"}


def _home() -> Path:
    """The unpacked distribution, fetched once."""
    home = BUILD / f"keycloak-{VERSION}"
    if not home.exists():
        artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={BUILD}"], check=True
        )
        with zipfile.ZipFile(BUILD / f"keycloak-quarkus-dist-{VERSION}.zip") as packed:
            packed.extractall(BUILD)
        (home / "bin/kc.sh").chmod(0o755)
    return home


def _realm() -> dict[str, Any]:
    def codes(period: int) -> dict[str, Any]:
        told = {"subType": "totp", "digits": 6, "counter": 0, "period": period, "algorithm": "HmacSHA1"}
        return {"type": "otp", "secretData": json.dumps({"value": RAW}), "credentialData": json.dumps(told)}

    def user(name: str, *more: dict[str, Any], **keys: Any) -> dict[str, Any]:
        return {
            "username": name, "enabled": True, "email": f"{name}@example.org", "emailVerified": True, "firstName": name,
            "lastName": "X", "credentials": [{"type": "password", "value": PASSWORD}, *more], **keys,
        }  # fmt: skip

    def client(name: str, **keys: Any) -> dict[str, Any]:
        return {"clientId": name, "secret": f"{name}-100%+", "enabled": True, "publicClient": False, **keys}

    audience = {
        "name": "gate", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": "gate", "access.token.claim": "true"},
    }  # fmt: skip
    # Brute-force protection with Keycloak's own quick-login check (two refusals within 1 s), and a low limit of refusals.
    return {
        "realm": "sync", "enabled": True, "sslRequired": "none", "accessTokenLifespan": TOKEN_SECONDS,
        "revokeRefreshToken": True, "refreshTokenMaxReuse": 0, "bruteForceProtected": True, "failureFactor": 5,
        "quickLoginCheckMilliSeconds": 1000, "minimumQuickLoginWaitSeconds": 60, "waitIncrementSeconds": 60,
        "otpPolicyLookAheadWindow": 1, "otpPolicyCodeReusable": False, "eventsEnabled": True,
        "enabledEventTypes": ["LOGIN", "LOGIN_ERROR", "LOGOUT", "REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"],
        "clients": [
            client("runner", directAccessGrantsEnabled=True, protocolMappers=[audience]),
            client("gate", standardFlowEnabled=True, redirectUris=["*"]),
            client("machine", serviceAccountsEnabled=True),
            client("no-direct"),
            client(
                "signer", serviceAccountsEnabled=True, clientAuthenticatorType="client-jwt",
                attributes={"use.jwks.string": "true", "jwks.string": json.dumps({"keys": [_public_key()]})},
            ),
            {
                "clientId": "page", "enabled": True, "publicClient": True, "standardFlowEnabled": True,
                "redirectUris": ["http://127.0.0.1/callback"], "attributes": {"pkce.code.challenge.method": "S256"},
            },
        ],
        "users": [
            user("athlete", codes(30)), *(user(name, codes(STEP)) for name in ("wrong", "twice", "visitor", "shared", "moved", "reader", "typist", "guest", "pilot", "watcher", "courier", "outsider",
                "seed", "crowd", "boot", "down", "waiter", "stranger", "absent")), user("plain"),
            user("leaver", codes(STEP), enabled=False), user("novice", requiredActions=["CONFIGURE_TOTP"]),
        ],
    }  # fmt: skip


def mounted(folder: Path, user: str, **secrets: str) -> Path:
    """The folder, with the secret files of a user and of the client `runner`; `secrets` replace some or add to them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    known = {
        "username": user, "password": PASSWORD, "totp_seed": SEED if user == "athlete" else SHORT_SEED,
        "client_id": "runner", "client_secret": "runner-100%+",
    } | secrets  # fmt: skip
    for name, secret in known.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret)
    return folder


class Keycloak:
    """One Keycloak with the realm `sync`."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        environment = {
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": "admin-password",
            "JAVA_OPTS_KC_HEAP": "-Xms128m -Xmx768m",
        }  # fmt: skip
        command: list[str | Path] = [
            _home() / "bin/kc.sh", "start-dev", "--db=dev-file", f"--db-url=jdbc:h2:file:{home}/h2/keycloak;NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE", "--http-host=127.0.0.1",
            f"--http-port={port}", f"--http-management-port={free_port()}",
        ]  # fmt: skip
        ready = answers(f"{self.base_url}/realms/master")
        self.program = stack.enter_context(Program(command, environment, home / "keycloak.log", ready, cwd=home))
        self.program.wait()
        self.ask("POST", "/admin/realms", _realm())

    def stop(self) -> None:
        """Stop it. What it keeps is in a file."""
        self.program.stop()

    def start(self) -> None:
        """Start it again."""
        self.program.start()
        self.program.wait()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the administrator."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin-password"}
        token = f"{self.base_url}/realms/master/protocol/openid-connect/token"
        with OPENER.open(token, urlencode(form).encode(), timeout=60) as answer:
            bearer = json.load(answer)["access_token"]
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, raw, headers, method=method)
        with OPENER.open(request, timeout=60) as answer:
            read = answer.read()
        return json.loads(read) if read else None

    def user_id(self, name: str) -> str:
        """Keycloak's id of the user."""
        found: str = self.ask("GET", f"/admin/realms/sync/users?exact=true&username={name}")[0]["id"]
        return found

    def client_id(self, name: str) -> str:
        """Keycloak's id of the client."""
        found: str = self.ask("GET", f"/admin/realms/sync/clients?clientId={name}")[0]["id"]
        return found

    def events(self, name: str, *kinds: str) -> list[str]:
        """What Keycloak recorded of that user, oldest first: LOGIN, LOGIN_ERROR, REFRESH_TOKEN, LOGOUT, ..."""
        found = self.ask("GET", f"/admin/realms/sync/events?max=100&user={self.user_id(name)}")
        told = [f"{one['type']}{':' + one['error'] if one.get('error') else ''}" for one in reversed(found)]
        return [one for one in told if not kinds or one.startswith(kinds)]

    def locked(self, name: str) -> bool:
        """Whether brute-force protection has locked the user."""
        path = f"/admin/realms/sync/attack-detection/brute-force/users/{self.user_id(name)}"
        return bool(self.ask("GET", path)["disabled"])

    def sessions(self, name: str) -> int:
        """How many sessions of the user are open."""
        return len(self.ask("GET", f"/admin/realms/sync/users/{self.user_id(name)}/sessions"))

    def end_sessions(self, name: str) -> None:
        """As an administrator does."""
        self.ask("POST", f"/admin/realms/sync/users/{self.user_id(name)}/logout")
