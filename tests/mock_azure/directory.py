"""The mock's tenant: users, their subscriptions, and app registrations."""

import json
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

GRAPH_ID = "00000003-0000-0000-c000-000000000000"
ARM_ID = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
COMMAND_LINE_ID = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
EXCHANGE_ID = "fb60f99c-7a34-4190-8149-302f77469936"
EXCHANGE_URI = "api://AzureADTokenExchange"
OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})


def stable_guid(name: str) -> str:
    """Return a GUID that is the same in every run, so that bookmarks and screenshots stay valid."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://contoso.example/{name}"))


TENANT_ID = stable_guid("tenant")
PARTNER_ID = stable_guid("partner tenant")
ANY_TENANT = "organizations"


@dataclass(frozen=True)
class Subscription:
    name: str
    state: str = "Enabled"
    quota_id: str = "EnterpriseAgreement_2014-09-01"
    spending_limit: str = "Off"
    tags: Json = field(default_factory=dict)

    def as_arm(self, tenant_id: str) -> Json:
        """Return the subscription in ARM's format (Subscriptions - List, 2020-01-01)."""
        subscription_id = stable_guid(f"subscription/{self.name}")
        return {
            "id": f"/subscriptions/{subscription_id}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            **({"tags": self.tags} if self.tags else {}),
            "subscriptionId": subscription_id,
            "tenantId": tenant_id,
            "displayName": self.name,
            "state": self.state,
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": self.quota_id,
                "spendingLimit": self.spending_limit,
            },
        }


@dataclass(frozen=True)
class User:
    """``key`` is the name that tests use; ``meaning`` describes the user on the sign-in page."""

    given_name: str
    family_name: str
    meaning: str
    subscriptions: tuple[Subscription, ...] = ()
    needs_mfa: bool = False
    may_consent: bool = True
    home_tenant_id: str = TENANT_ID
    is_admin: bool = False

    @property
    def key(self) -> str:
        return self.given_name.lower()

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def oid(self) -> str:
        return stable_guid(f"user/{self.key}")

    @property
    def is_guest(self) -> bool:
        return self.home_tenant_id != TENANT_ID

    @property
    def called(self) -> str:
        return f"{self.given_name} (a guest)" if self.is_guest else self.given_name

    @property
    def home_oid(self) -> str:
        """The object ID in the user's home tenant, which differs from ``oid`` for a guest."""
        return stable_guid(f"home/{self.key}") if self.is_guest else self.oid

    @property
    def email(self) -> str:
        return f"{self.key}@{'fabrikam' if self.is_guest else 'contoso'}.example"

    @property
    def upn(self) -> str:
        if self.is_guest:
            return f"{self.email.replace('@', '_')}#EXT#@contoso.example"
        return self.email

    def is_called(self, hint: str) -> bool:
        return hint.lower() in (self.email, self.upn.lower())


@dataclass(frozen=True)
class Permission:
    """A delegated permission, with its text on the consent page.

    Registrations refer to it by ``id``. If ``admin_only``, only an administrator may consent.
    """

    title: str
    description: str
    id: str = ""
    admin_only: bool = False


class Secret(NamedTuple):
    """A client secret; ``expires_at`` in seconds since 1970."""

    text: str
    expires_at: float = float("inf")


class FederatedCredential(NamedTuple):
    """Tokens that a registration accepts instead of a secret; all three values match exactly."""

    issuer: str
    subject: str
    audience: str = EXCHANGE_URI


@dataclass(frozen=True)
class Application:
    """An app registration; ``required`` lists its API permissions as (client ID, scope).

    It has any number of secrets, certificates and federated credentials; a ``public`` one has
    none. ``roles`` are the application permissions that an administrator granted to it, and
    ``id_token_claims`` the optional claims of its ID tokens.
    """

    client_id: str
    name: str
    uris: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()
    permissions: dict[str, Permission] = field(default_factory=dict)
    required: tuple[tuple[str, str], ...] = ()
    known_clients: tuple[str, ...] = ()
    token_version: int = 1
    xms_cc: bool = False
    secrets: tuple[Secret, ...] = ()
    certificates: tuple[bytes, ...] = ()  # DER
    public: bool = False
    roles: tuple[str, ...] = ()
    federated: tuple[FederatedCredential, ...] = ()
    id_token_claims: tuple[str, ...] = ()

    @property
    def secret(self) -> str:
        """The first client secret, for tests that act as this application."""
        return self.secrets[0].text if self.secrets else ""


FLEET = tuple(Subscription(f"Fleet {number:03}") for number in range(1, 301))


def users() -> dict[str, User]:
    alice = (
        Subscription("Contoso Production", tags={"env": "prod"}),
        Subscription("Contoso Development", quota_id="MSDN_2014-09-01", spending_limit="On"),
        Subscription("Contoso Sandbox", "Warned", "PayAsYouGo_2014-09-01"),
        Subscription("Contoso Archive", "Disabled", "Sponsored_2016-01-01"),
    )
    everyone = (
        User("Alice", "Adams", "has four subscriptions; is an administrator", alice, is_admin=True),
        User("Bob", "Brown", "has no subscriptions"),
        User("Gina", "Green", "has 300 subscriptions, on many pages", FLEET),
        User("Carol", "Clark", "needs a second factor for Azure", alice[:2], needs_mfa=True),
        User("Dave", "Dunn", "must ask an administrator for consent", alice[:1], may_consent=False),
        User("Frank", "Fox", "is a guest from Fabrikam", alice[1:2], home_tenant_id=PARTNER_ID),
    )
    return {user.key: user for user in everyone}


def applications() -> dict[str, Application]:
    """Return the sample's registrations, as its README sets them up, and Microsoft's own."""
    apps = json.loads(Path(__file__).with_name("applications.json").read_text("utf-8"))
    return {client_id: _application(client_id, app) for client_id, app in apps.items()}


def _application(client_id: str, app: Json) -> Application:
    has_secret = app.pop("has_secret", False)
    permissions = app.pop("permissions", {})
    required = app.pop("required", [])
    lists = {name: tuple(value) for name, value in app.items() if isinstance(value, list)}
    return Application(
        client_id,
        permissions={name: Permission(**texts) for name, texts in permissions.items()},
        required=tuple((resource, scope) for resource, scope in required),
        secrets=(Secret(secrets.token_urlsafe(30)),) if has_secret else (),
        **app | lists,
    )
