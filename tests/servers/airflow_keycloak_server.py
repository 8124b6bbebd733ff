"""Airflow whose auth manager is a Keycloak: who logs in there gives Keycloak's token for one of Airflow's."""

from contextlib import ExitStack
from pathlib import Path

from tests.servers.airflow_server import Airflow
from tests.servers.keycloak_server import Keycloak

SECRET = "airflow-100"


class AirflowBehindKeycloak(Airflow):
    """One Airflow with the realm `sync`. The realm's role User may trigger and change runs, Viewer may read."""

    def __init__(self, home: Path, keycloak: Keycloak, stack: ExitStack, **roles: str) -> None:
        """`roles` are those of users in the realm."""
        self._keycloak, self._roles = keycloak, roles
        super().__init__(home, stack)

    def auth_manager(self) -> dict[str, str]:
        """The provider's own settings."""
        section = "AIRFLOW__KEYCLOAK_AUTH_MANAGER__"
        package = "airflow.providers.keycloak.auth_manager"
        return {
            "AIRFLOW__CORE__AUTH_MANAGER": f"{package}.keycloak_auth_manager.KeycloakAuthManager",
            "AIRFLOW__API_AUTH__JWT_SECRET": "one secret for all parts, of more than 64 bytes since it is for HS512 here",
            "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": "86400",  # Airflow's default: Keycloak's 30 s end the session
            f"{section}CLIENT_ID": "airflow", f"{section}CLIENT_SECRET": SECRET, f"{section}REALM": "sync",
            f"{section}SERVER_URL": self._keycloak.base_url, f"{section}JWT_FEDERATED_CLIENT_IDS": "runner",
        }  # fmt: skip

    def prepare(self) -> None:
        """Keycloak's side: the client `airflow` with its rights, the realm's roles, an audience for the client `runner`."""
        ask, realm = self._keycloak.ask, "/admin/realms/sync"
        audience = {
            "name": "airflow", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.client.audience": "airflow", "access.token.claim": "true"},
        }  # fmt: skip
        client = {
            "clientId": "airflow", "secret": SECRET, "publicClient": False, "serviceAccountsEnabled": True,
            "authorizationServicesEnabled": True, "directAccessGrantsEnabled": True, "protocolMappers": [audience],
        }  # fmt: skip
        ask("POST", f"{realm}/clients", client)
        for role in ("Viewer", "User", "Op", "Admin", "SuperAdmin"):
            ask("POST", f"{realm}/roles", {"name": role})
        # Keycloak's default, UNANIMOUS, forbids everything: the permissions that create-all makes overlap.
        own = f"{realm}/clients/{self._keycloak.client_id('airflow')}/authz/resource-server"
        ask("PUT", own, {**ask("GET", own), "decisionStrategy": "AFFIRMATIVE"})
        ask("POST", f"{realm}/clients/{self._keycloak.client_id('runner')}/protocol-mappers/models", audience)
        for user, role in self._roles.items():
            given = [ask("GET", f"{realm}/roles/{role}")]
            ask("POST", f"{realm}/users/{self._keycloak.user_id(user)}/role-mappings/realm", given)
        self.command(
            "keycloak-auth-manager", "create-all", "--username", "admin", "--password", "admin-password",
            "--user-realm", "master", "--client-id", "admin-cli",
        )  # fmt: skip
