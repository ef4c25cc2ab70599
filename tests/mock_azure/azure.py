"""``MockAzure``: one tenant of Entra ID, its Resource Manager, and the controls for tests."""

import secrets
import ssl
import tempfile
import threading
import uuid
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from . import consents, directory, scopes, server, tls, tokens
from .app import create_app
from .clock import Clock
from .consents import Consents
from .errors import EntraError
from .faults import Faults
from .graph import Registry
from .identities import Identity, Issuer
from .keys import SigningKey, SigningKeys
from .policies import Policies, SignIn
from .record import Recorded, Recorder
from .scenarios import Scenarios
from .seals import Seals


class MockAzure:
    """A mock of Azure. Use it as a context manager to make it listen::

        with MockAzure(front_port=0, back_port=0) as azure:
            requests.get(f"{azure.authority}/discovery/v2.0/keys", verify=azure.ca_file)

    Port 0 means any free port. ``listen`` holds the addresses to bind to; the host names are those
    in URLs, and pages link to the app at ``ui_url``. Only clients on this machine, or in the
    network ``controls_from`` if it is given, may use the controls. Without ``with`` no socket is
    opened: ``azure.app`` then serves Flask's test client, and ``front_url``, ``login_url``,
    ``arm_url`` and ``graph_url`` may be Microsoft's own addresses.

    Controls: ``faults``, ``policies`` (Conditional Access), ``consents``, ``keys`` (rollover),
    ``clock``, ``token_lifetime_seconds``, ``arm_page_size`` and the methods below. ``scenarios``
    combines them into named failures. ``reset`` undoes them all. ``require_pkce`` rejects a sign-in
    without PKCE, as Entra does for single-page apps only.
    """

    def __init__(
        self,
        front_host: str = "localhost",
        front_port: int = 0,
        back_port: int = 0,
        *,
        back_host: str = "localhost",
        listen: tuple[str, ...] = server.LOOPBACK,
        ui_url: str = "http://localhost:8000",
        controls_from: IPv4Network | IPv6Network | None = None,
        front_url: str = "",
        login_url: str = "",
        arm_url: str = "",
        graph_url: str = "",
        require_pkce: bool = False,
    ) -> None:
        self.require_pkce = require_pkce
        self._listen = listen
        self.ui_url = ui_url
        self.controls_from = controls_from
        self._ports = (front_port, back_port)
        self._listeners: list[server.Listener] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._back_host = back_host
        self._fixed_urls = (front_url, login_url, arm_url, graph_url)
        self.tenant_id = directory.TENANT_ID
        self.clock = Clock()
        self.keys = SigningKeys()
        self._applications = directory.applications()
        self.ui, self.api, *_ = self._applications.values()
        self.applications = dict(self._applications)
        self._set_addresses(front_host, front_port, back_port)
        self.reset()
        self.app = create_app(self)

    def reset(self) -> None:
        """Forget all requests, consents and controls; keys, ports and secrets stay."""
        self.clock.offset = 0.0
        self.keys.reset()
        self.token_lifetime_seconds = (3600, 5400)
        self.arm_page_size = 25
        self.applications = dict(self._applications)
        self.users = directory.users()
        self.seals = Seals()
        self.consents = Consents(self.users)
        self.policies = Policies(self.users)
        self.faults = Faults()
        self.scenarios = Scenarios(self)
        self.recorder = Recorder()
        self.registry = Registry()
        self.identities: dict[str, Identity] = {}  # by client ID
        self.issuers: dict[str, list[SigningKey]] = {}  # published keys by issuer
        self.identity_header = secrets.token_urlsafe(20)
        self.device_requests: dict[str, dict[str, str]] = {}  # by user code
        self.device_codes: dict[str, directory.Json] = {}  # by user code: the sign-in, {}: declined
        self._used: set[str] = set()

    # --- addresses --------------------------------------------------------------------------------

    def _set_addresses(self, front_host: str, front_port: int, back_port: int) -> None:
        self.front_host = front_host
        front_url, login_url, arm_url, graph_url = self._fixed_urls
        self.front_url = front_url or f"http://{front_host}:{front_port}"
        self.back_url = f"https://{self._back_host}:{back_port}"
        self.login_url = login_url or self.back_url
        self.arm_url = arm_url or self.back_url
        # Graph has another origin than ARM, as in Azure, because scopes begin with the origin.
        self.graph_url = graph_url or f"https://127.0.0.1:{back_port}"
        for app_id, url in ((directory.ARM_ID, self.arm_url), (directory.GRAPH_ID, self.graph_url)):
            app = self._applications[app_id]
            app = replace(app, uris=tuple(dict.fromkeys([*app.uris, url])))
            self._applications[app_id] = self.applications[app_id] = app
        urls = (self.front_url, self.back_url, self.login_url, self.arm_url, self.graph_url)
        self.host_names = {urlsplit(url).hostname for url in urls}

    @property
    def authority(self) -> str:
        return f"{self.login_url}/{self.tenant_id}"

    @property
    def issuer(self) -> str:
        return f"{self.authority}/v2.0"

    @property
    def issuer_v1(self) -> str:
        return f"https://sts.windows.net/{self.tenant_id}/"

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients of the back channel must trust (PEM)."""
        if self._folder is None:
            raise RuntimeError("MockAzure is not listening: use it in a with statement")
        return Path(self._folder.name, "ca.pem")

    # --- listening --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        names = dict.fromkeys([self._back_host, "localhost", "127.0.0.1", "::1"])
        context, ca_pem = tls.server_context(list(names))
        front = self._start("front", self._ports[0], None)
        back = self._start("back", self._ports[1], context)
        self._set_addresses(self.front_host, front, back)
        self._folder = tempfile.TemporaryDirectory(prefix="mock-azure-")
        self.ca_file.write_bytes(ca_pem)
        return self

    def _start(self, channel: str, port: int, context: ssl.SSLContext | None) -> int:
        try:
            listeners = server.listen(self.app, channel, self._listen, port, context)
        except OSError:
            self.close()
            raise
        self._listeners += listeners
        return listeners[0].port

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, close every connection and remove the temporary folder."""
        stopping = [threading.Thread(target=listener.stop) for listener in self._listeners]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._listeners = []
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def check_tenant(self, tenant: str, error: str = "") -> None:
        """:raises EntraError: 90002 unless ``tenant`` is this one or ``organizations``."""
        if tenant not in (self.tenant_id, directory.ANY_TENANT):
            raise EntraError(90002, error=error, tenant=tenant)

    # --- what the applications need ---------------------------------------------------------------

    def flask_api_settings(self) -> dict[str, str]:
        """Return everything that FlaskAPI reads from its environment."""
        return {
            "FLASK_ENV": "development",
            "ENV_FILE": "",
            **self._credentials(self.api),
            "ISSUER": self.issuer,
            "SCOPE": "https://management.azure.com/user_impersonation",
            "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": (
                f"{self.arm_url}/subscriptions?api-version=2020-01-01"
            ),
        }

    def django_ui_settings(
        self, ui_url: str = "http://localhost:8000", api_url: str = "http://localhost:5000"
    ) -> dict[str, str]:
        """Return everything that DjangoUI reads from its environment."""
        return {
            "ENVIRONMENT": "development",
            "ENV_FILE": "",
            **self._credentials(self.ui),
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "FLASK_BACKEND_URL": f"{api_url}/subscriptions",
            "REDIRECT_URI": f"{ui_url}/account/callback",
            "POST_LOGOUT_REDIRECT_URI": f"{ui_url}/account/signed-out",
            "LOGIN_URL": "/account/login",
            "LOGOUT_URL": f"{self.front_url}/{self.tenant_id}/oauth2/v2.0/logout",
            "SCOPE": f"{self.api.uris[0]}/.default",
            "API_SCOPE": f"{self.api.uris[0]}/access_as_user",
            "PRODUCTION_HOST": urlsplit(ui_url).hostname or "",
            "TRACE_URL": f"{self.front_url}/trace/",
        }

    def identity_settings(self, app: directory.Application) -> dict[str, str]:
        """Return the settings that replace ``app``'s secret, as App Service sets them.

        Create a managed identity that the registration trusts.
        """
        identity = self.add_identity()
        self.trust(app, self.issuer, identity.object_id)
        return {
            "CLIENT_SECRET": "",
            "MANAGED_IDENTITY_CLIENT_ID": identity.client_id,
            "IDENTITY_ENDPOINT": f"{self.front_url}/msi/token",
            "IDENTITY_HEADER": self.identity_header,
        }

    def _credentials(self, app: directory.Application) -> dict[str, str]:
        return {
            "CLIENT_ID": app.client_id,
            "CLIENT_SECRET": app.secret,
            "AUTHORITY": self.authority,
            **({"CA_BUNDLE": str(self.ca_file)} if self._folder else {}),
        }

    def names_in(self, value: object) -> list[str]:
        """Return the names, as the mock's pages use them, of the GUIDs in ``value``."""
        names = {app.client_id: app.name for app in self.applications.values()}
        names |= {self.ui.client_id: "DjangoUI", self.api.client_id: "FlaskAPI"}
        names |= {directory.ARM_ID: "Azure Resource Manager"}
        names |= {user.oid: user.name for user in self.users.values()}
        names |= {self.tenant_id: "this tenant", directory.PARTNER_ID: "the tenant of Fabrikam"}
        return [name for guid, name in names.items() if guid in str(value)]

    def cloud(self) -> dict[str, str]:
        """Return the addresses that AppCreationScripts read with ``--cloud``."""
        return {
            "login": self.login_url,
            "graph": self.graph_url,
            "arm": self.arm_url,
            "portal": "https://portal.azure.com",
            "ca_bundle": str(self.ca_file),
            "logout": f"{self.front_url}/{self.tenant_id}/oauth2/v2.0/logout",
        }

    # --- controls for tests -----------------------------------------------------------------------

    def access_token(
        self,
        user: str = "alice",
        *,
        header: directory.Json | str | None = None,
        payload: str | None = None,
        key: Any = None,
        algorithm: str = "RS256",
        **claims: Any,
    ) -> str:
        """Return an access token for the API, as if ``user`` had just signed in to the UI.

        ``claims`` replace the token's own; None removes one. The other arguments forge the token:
        ``header`` is merged into the usual one (None removes a member); it and ``payload`` can also
        be the exact JSON text. ``key`` is a ``SigningKey``, a private key or the bytes of an HMAC
        key, e.g. ``azure.keys.rogue`` or, with ``HS256``, ``azure.keys.current.public_pem``.
        ``algorithm`` makes the signature (``none``: an empty one); the header's ``alg`` is the same
        unless ``header`` says otherwise.
        """
        sign_in = SignIn(user, directory.stable_guid(f"session/{user}"), self.clock.now())
        usual = tokens.access_token_claims(self, self.ui, self.api, sign_in, {"access_as_user"})
        if not isinstance(header, str):
            own = tokens.header_for(self.keys.current, "2.0") | {"alg": algorithm}
            header = _without_none(own | (header or {}))
        key = key or self.keys.current
        if isinstance(key, SigningKey):
            key = key.private
        signed = _without_none(usual | claims) if payload is None else payload
        return tokens.sign(header, signed, key, algorithm)

    def requests(self, hop: str | None = None, user: str | None = None) -> list[Recorded]:
        """Return the last 5000 requests, oldest first; hop ``token`` means every grant."""
        return self.recorder.find(hop, user)

    def revoke_sessions(self, user: str = "alice") -> None:
        """Revoke every sign-in of ``user`` up to now, as a new password does.

        Entra rejects earlier refresh tokens and assertions with 50173. ARM answers an earlier token
        with a claims challenge if its client announced ``cp1``, else accepts it until it expires.
        """
        self.policies.revoke_sessions(user, self.clock.now())

    def register_certificate(self, app: directory.Application, der: bytes) -> None:
        """Let ``app`` (``azure.api`` or ``azure.ui``) authenticate with a certificate as well."""
        old = self.applications[app.client_id]
        self.applications[app.client_id] = replace(old, certificates=(*old.certificates, der))

    def trust(
        self,
        app: directory.Application,
        issuer: str,
        subject: str,
        audience: str = directory.EXCHANGE_URI,
    ) -> None:
        """Let ``app`` also authenticate with a token that ``issuer`` issued to ``subject``."""
        credential = directory.FederatedCredential(issuer, subject, audience)
        old = self.applications[app.client_id]
        self.applications[app.client_id] = replace(old, federated=(*old.federated, credential))

    def add_identity(self) -> Identity:
        """Create a user-assigned managed identity; ``/msi/token`` issues its tokens."""
        identity = Identity()
        self.identities[identity.client_id] = identity
        return identity

    def add_issuer(self, url: str = "https://cluster.example/") -> Issuer:
        """Add an issuer, such as a Kubernetes cluster, whose signing keys Entra can read.

        ``issuer.token(subject, azure.clock.now())`` returns the content of a projected token file.
        """
        issuer = Issuer(url)
        self.issuers[url] = issuer.keys
        return issuer

    def unregister(self) -> None:
        """Remove both applications of the sample, as before AppCreationScripts run."""
        for app in (self.ui, self.api):
            del self.applications[app.client_id]

    def add_service(self, *roles: str) -> directory.Application:
        """Register an application that calls Graph as itself, with these permissions."""
        secret = directory.Secret(secrets.token_urlsafe(30))
        client_id = str(uuid.uuid4())
        service = directory.Application(client_id, "Automation", secrets=(secret,), roles=roles)
        self.applications[client_id] = service
        return service

    def consent_all(self, user: str = "alice") -> None:
        """Grant everything that ``user`` grants by accepting the combined consent page."""
        asked = f"{self.api.uris[0]}/.default openid profile offline_access"
        parsed = scopes.parse(asked, self.ui, self.applications)
        self.consents.grant(user, consents.requested(self.ui, parsed, self.applications))

    def use_once(self, code_id: str) -> bool:
        """Mark an authorization code as redeemed; return False if it already was."""
        with self._lock:
            is_new = code_id not in self._used
            self._used.add(code_id)
            return is_new


def _without_none(members: directory.Json) -> directory.Json:
    return {name: value for name, value in members.items() if value is not None}
