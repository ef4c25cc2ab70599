"""The credentials of a registration: client secrets, certificates and federated credentials."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from graph import Graph, Json
from registrations import Registration

SECRET_NAME = "app secret"
CERTIFICATE_NAME = "app certificate"


# --- secrets --------------------------------------------------------------------------------------


def is_valid_secret(registration: Registration, secret: str) -> bool:
    """Return whether ``secret`` matches one of the registration's and is valid for another day.

    Graph returns only the first three characters of a secret.
    """
    tomorrow = to_graph(datetime.now(UTC) + timedelta(days=1))
    return any(
        credential.get("hint") == secret[:3] and credential["endDateTime"] > tomorrow
        for credential in registration.application.get("passwordCredentials", [])
    )


def add_secret(graph: Graph, registration: Registration, days: int) -> Json:
    """Create a client secret: ``{"secretText": ..., "keyId": ..., "endDateTime": ...}``."""
    end = datetime.now(UTC) + timedelta(days=days)
    body = {"displayName": SECRET_NAME, "endDateTime": to_graph(end)}
    action = f"create a client secret that expires on {end:%Y-%m-%d}"
    path = f"{registration.path}/addPassword"
    return graph.write(action, "POST", path, {"passwordCredential": body})


def remove_secrets(graph: Graph, registration: Registration, ids: list[str]) -> None:
    """Remove the secrets whose key ID is in ``ids``."""
    for credential in registration.application.get("passwordCredentials", []):
        if credential["keyId"] in ids:
            body = {"keyId": credential["keyId"]}
            path = f"{registration.path}/removePassword"
            graph.write("remove a client secret of this machine", "POST", path, body)


# --- certificates ---------------------------------------------------------------------------------


def is_valid_certificate(graph: Graph, registration: Registration, file: Path) -> bool:
    """Return whether the certificate in ``file`` is registered and not in its last quarter."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return False
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    is_young = datetime.now(UTC) < end - (end - start) / 4
    keys = registered_keys(graph, registration)
    return is_young and as_key(certificate) in [credential["key"] for credential in keys]


def as_key(certificate: x509.Certificate) -> str:
    """Return the certificate in Graph's format: DER in base64."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def registered_keys(graph: Graph, registration: Registration) -> list[Json]:
    """Return the registration's certificates. Graph includes their content only with $select."""
    answer = graph.get(f"{registration.path}?$select=keyCredentials") or {}
    return list(answer.get("keyCredentials", []))


def add_certificate(graph: Graph, registration: Registration, days: int) -> tuple[Json, str]:
    """Register a new self-signed certificate.

    Return its key credential, and the private key and certificate as PEM. Existing certificates
    stay valid, so that running apps can switch to the new one.

    https://learn.microsoft.com/graph/applications-how-to-add-certificate
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, registration.name)])
    start = datetime.now(UTC).replace(microsecond=0)
    end = start + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, SHA256())
    )
    credential = {
        "keyId": str(uuid.uuid4()),
        "displayName": CERTIFICATE_NAME,
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "key": as_key(certificate),
        "startDateTime": to_graph(start),
        "endDateTime": to_graph(end),
    }
    body = {"keyCredentials": [*registered_keys(graph, registration), credential]}
    action = f"register a certificate that expires on {end:%Y-%m-%d}"
    graph.write(action, "PATCH", registration.path, body)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return credential, (private + certificate.public_bytes(Encoding.PEM)).decode()


# --- managed identities ---------------------------------------------------------------------------


def trust_identity(
    graph: Graph, registration: Registration, issuer: str, object_id: str, audience: str
) -> str:
    """Let a managed identity act as the application; return the federated credential's ID.

    https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
    """
    path = f"{registration.path}/federatedIdentityCredentials"
    for credential in graph.list(path):
        if (credential["issuer"], credential["subject"]) == (issuer, object_id):
            return ""
    body = {
        "name": f"managed-identity-{object_id}",
        "issuer": issuer,
        "subject": object_id,
        "audiences": [audience],
    }
    return str(graph.write(f"trust the managed identity {object_id}", "POST", path, body)["id"])


def remove_others(graph: Graph, registration: Registration, ids: list[str]) -> None:
    """Remove the certificates and federated credentials whose ID is in ``ids``."""
    keys = registered_keys(graph, registration)
    rest = [credential for credential in keys if credential["keyId"] not in ids]
    if rest != keys:
        body = {"keyCredentials": rest}
        graph.write("remove certificates of this machine", "PATCH", registration.path, body)
    path = f"{registration.path}/federatedIdentityCredentials"
    for credential in list(graph.list(path)):
        if credential["id"] in ids:
            graph.write(f"remove {credential['name']}", "DELETE", f"{path}/{credential['id']}")


def to_graph(time: datetime) -> str:
    """Return ``time`` (UTC) in ISO 8601, which can be compared as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
