"""Which client calls the token endpoint, by secret or by certificate."""

import hashlib
import hmac
from urllib.parse import unquote_plus

import jwt
from cryptography import x509
from flask import g, request

from . import tokens
from .context import azure
from .directory import Application
from .errors import EntraError
from .keys import base64url

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def required(name: str) -> str:
    """The parameter ``name`` of the body.

    :raises EntraError: 900144 it is missing, 9002313 it is there twice.
    """
    values = request.form.getlist(name)
    if len(values) > 1:  # RFC 6749 section 3.2
        raise EntraError(9002313)
    if not values or not values[0]:
        raise EntraError(900144, name=name)
    return values[0]


def authenticate_client() -> Application:
    """The client: by secret in the body or in Basic, or by an assertion its certificate signed.

    A public client only says its name.
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
        _check_client_assertion(app, required("client_assertion"))
        g.by_certificate = True
        return app
    if app.public:
        return app
    if not secret:
        raise EntraError(7000218)
    for known in app.secrets:
        if hmac.compare_digest(secret.encode(), known.text.encode()):
            if known.expires_at < azure.clock.now():
                raise EntraError(7000222, client=app.client_id)
            return app
    raise EntraError(7000215, client=app.client_id)


def _check_client_assertion(app: Application, assertion: str) -> None:
    """https://learn.microsoft.com/entra/identity-platform/certificate-credentials"""
    header = tokens.unverified(assertion, 0)
    for der in app.certificates:
        names = {
            "x5t": base64url(hashlib.sha1(der, usedforsecurity=False).digest()),
            "x5t#S256": base64url(hashlib.sha256(der).digest()),
        }
        # MSAL for Python leaves base64's padding on.
        if any(str(header.get(name)).rstrip("=") == value for name, value in names.items()):
            break
    else:
        raise EntraError(700027, reason="its certificate is not registered")
    try:
        claims = jwt.decode(
            assertion,
            x509.load_der_x509_certificate(der).public_key(),  # type: ignore[arg-type]
            algorithms=["RS256", "PS256"],
            audience=[f"{azure.authority}/oauth2/v2.0/token", azure.issuer],
            issuer=app.client_id,
            leeway=300,
            options={"require": ["exp", "iss", "sub", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise EntraError(700027, reason=type(error).__name__) from None
    if claims["sub"] != app.client_id:
        raise EntraError(700027, reason="sub is another client")
