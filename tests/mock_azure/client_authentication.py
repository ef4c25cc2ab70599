"""Authenticate clients of the token endpoint: by secret, certificate or federated credential."""

import hashlib
import hmac
from urllib.parse import unquote_plus

import jwt
from cryptography import x509
from flask import g, request

from . import tokens
from .context import azure
from .directory import EXCHANGE_ID, EXCHANGE_URI, Application, Json
from .errors import EntraError
from .keys import base64url

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY_SECONDS = 300


def required(name: str) -> str:
    """Return the parameter ``name`` of the body.

    :raises EntraError: 900144 if it is missing, 9002313 if it is repeated.
    """
    values = request.form.getlist(name)
    if len(values) > 1:  # RFC 6749 section 3.2
        raise EntraError(9002313)
    if not values or not values[0]:
        raise EntraError(900144, name=name)
    return values[0]


def authenticate_client() -> Application:
    """Return the client, authenticated by a secret (in the body or as Basic) or an assertion.

    A public client sends only its ID.
    """
    basic = request.authorization if request.authorization else None
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if basic and basic.type == "basic":  # form-encoded before base64: RFC 6749 section 2.3.1
        client_id, secret = (unquote_plus(basic[part] or "") for part in ("username", "password"))
    if not client_id:
        raise EntraError(900144, name="client_id")
    app = azure.applications.get(client_id)
    if app is None:
        raise EntraError(700016, client=client_id, tenant=azure.tenant_id)
    if request.form.get("client_assertion_type") == ASSERTION_TYPE:
        assertion = required("client_assertion")
        if tokens.unverified(assertion).get("iss") == app.client_id:
            _check_certificate(app, assertion)
        else:
            _check_federated(app, assertion)
        g.by_assertion = True
        return app
    if app.public:
        return app
    if not secret:
        raise EntraError(7000218)
    for registered in app.secrets:
        if hmac.compare_digest(secret.encode(), registered.text.encode()):
            if registered.expires_at < azure.clock.now():
                raise EntraError(7000222, client=app.client_id)
            return app
    raise EntraError(7000215, client=app.client_id)


def _check_certificate(app: Application, assertion: str) -> None:
    """https://learn.microsoft.com/entra/identity-platform/certificate-credentials"""
    header = tokens.unverified(assertion, 0)
    for der in app.certificates:
        names = {
            "x5t": base64url(hashlib.sha1(der, usedforsecurity=False).digest()),
            "x5t#S256": base64url(hashlib.sha256(der).digest()),
        }
        # MSAL for Python does not remove the padding of base64.
        if any(str(header.get(name)).rstrip("=") == value for name, value in names.items()):
            break
    else:
        raise EntraError(700027, reason="its certificate is not registered")
    certificate = x509.load_der_x509_certificate(der)
    claims = _signed_claims(assertion, certificate.public_key(), "PS256")
    if claims.get("aud") not in (f"{azure.authority}/oauth2/v2.0/token", azure.issuer):
        raise EntraError(700027, reason="its audience is not this tenant")
    if claims.get("sub") != app.client_id:
        raise EntraError(700027, reason="sub is another client")
    _check_times(claims)
    if certificate.not_valid_after_utc.timestamp() < azure.clock.now():
        raise EntraError(700027, reason="the key used has expired")


def _check_federated(app: Application, assertion: str) -> None:
    """https://learn.microsoft.com/entra/workload-id/workload-identity-federation"""
    claims = tokens.unverified(assertion)
    issuer, subject, audience = (claims.get(name) for name in ("iss", "sub", "aud"))
    if isinstance(audience, list) and len(audience) == 1:  # as in tokens of Kubernetes
        audience = audience[0]
    if issuer == azure.issuer and audience == EXCHANGE_ID:  # one resource, two names
        audience = EXCHANGE_URI
    trusted = app.federated
    if not trusted:
        raise EntraError(70025, client=app.client_id)
    if not (trusted := tuple(item for item in trusted if item.issuer == issuer)):
        raise EntraError(700211, issuer=issuer)
    if not (trusted := tuple(item for item in trusted if item.subject == subject)):
        raise EntraError(700213, subject=subject)
    if not any(item.audience == audience for item in trusted):
        raise EntraError(700212, audience=audience)
    keys = azure.keys.published if issuer == azure.issuer else azure.issuers.get(str(issuer))
    if keys is None:
        raise EntraError(501661, issuer=issuer)
    kid = tokens.unverified(assertion, 0).get("kid")
    key = next((key for key in keys if key.kid == kid), None)
    if key is None:
        raise EntraError(7000272, kid=kid, issuer=issuer)
    _check_times(_signed_claims(assertion, key.private.public_key()))
    if issuer == azure.issuer and claims.get("azp") not in azure.identities:
        raise EntraError(700222)  # an application's token must not authenticate another one


def _signed_claims(assertion: str, key: object, *algorithms: str) -> Json:
    try:
        claims: Json = jwt.decode(
            assertion,
            key,  # type: ignore[arg-type]
            algorithms=["RS256", *algorithms],
            options=tokens.SIGNATURE_ONLY,
        )
    except (jwt.PyJWTError, RecursionError):
        raise EntraError(700027, reason="the signature is wrong") from None
    return claims


def _check_times(claims: Json) -> None:
    """Check ``exp``, which is required, and ``nbf`` against the mock's clock."""
    now, ends, begins = azure.clock.now(), claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(ends, int | float) or not isinstance(begins, int | float):
        raise EntraError(700024, now=azure.clock.stamp(), reason="it has no expiry time")
    if not begins - LEEWAY_SECONDS <= now <= ends + LEEWAY_SECONDS:
        reason = f"nbf is {begins}, exp is {ends}"
        raise EntraError(700024, now=azure.clock.stamp(), reason=reason)
