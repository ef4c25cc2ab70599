"""Credentials of apps without a secret: managed identities, and issuers that Entra can trust.

The endpoint is like App Service's, which is plain HTTP on the app's own machine:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import hmac
import uuid
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from . import scopes, tokens
from .context import azure
from .directory import EXCHANGE_URI
from .keys import SigningKey

API_VERSION = "2019-08-01"
LIFETIME_SECONDS = 24 * 3600

blueprint = Blueprint("identity", __name__)


@dataclass(frozen=True)
class Identity:
    """A user-assigned managed identity; ``object_id`` is that of its service principal."""

    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Issuer:
    """Another issuer of tokens, such as a Kubernetes cluster; ``keys`` are its published keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [SigningKey()]

    def token(self, subject: str, now: float, key: SigningKey | None = None, **claims: Any) -> str:
        """Return a token for ``subject``, valid for an hour, as Kubernetes projects it into a file.

        ``claims`` replace the token's own; None removes one.
        """
        key = key or self.keys[-1]
        usual = {"iss": self.url, "sub": subject, "aud": [EXCHANGE_URI], "iat": int(now)}
        usual |= {"nbf": int(now), "exp": int(now) + 3600, **claims}
        present = {name: value for name, value in usual.items() if value is not None}
        return tokens.sign({"alg": "RS256", "kid": key.kid}, present, key.private)


@blueprint.get("/msi/token", endpoint="identity")
def identity_token() -> ResponseReturnValue:
    """Issue a token to the managed identity named by ``client_id``."""
    header = request.headers.get("X-IDENTITY-HEADER", "")
    if not hmac.compare_digest(header.encode(), azure.identity_header.encode()):
        return _refusal(401, "X-IDENTITY-HEADER is missing or wrong.")
    if request.args.get("api-version") != API_VERSION:
        return _refusal(400, "Unsupported MSI API version")
    if not (name := request.args.get("resource")):
        return _refusal(400, "The parameter 'resource' is missing.")
    identity = azure.identities.get(request.args.get("client_id", ""))
    if identity is None:
        return _refusal(400, "No MSI found for specified ClientId/ResourceId.")
    resource = scopes.find_resource(name, azure.applications)
    if resource is None:
        return _refusal(500, "An unexpected error occured while fetching the AAD Token.")
    holder = (identity.client_id, identity.object_id)
    g.issued = tokens.app_token_claims(
        azure, *holder, resource, name, "2", lifetime=LIFETIME_SECONDS
    )
    return jsonify(
        access_token=tokens.issued(azure, g.issued),
        expires_on=str(g.issued["exp"]),
        resource=name,
        token_type="Bearer",
        client_id=identity.client_id,
    )


def _refusal(status: int, message: str) -> ResponseReturnValue:
    g.answer = message
    return jsonify(statusCode=status, message=message, correlationId=str(uuid.uuid4())), status
