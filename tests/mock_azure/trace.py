"""What the mock saw of one request of the apps: a page for learners (front channel)."""

from typing import Any
from uuid import UUID

from flask import Blueprint, render_template

from .context import azure
from .directory import Json
from .record import Recorded

TITLES = {
    "token:authorization_code": "The web app redeemed the sign-in's code",
    "token:refresh_token": "The web app renewed token A with its refresh token",
    "token:on_behalf_of": "The API exchanged token A for token B",
    "arm:subscriptions": "The API listed the subscriptions with token B",
    "discovery": "An app read the discovery document",
}
# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
MEANINGS = {
    "aud": "Audience: who may take it",
    "scp": "Scope: what it allows",
    "azp": "The client that got it",
    "appid": "The client that got it, in version 1",
    "iss": "Issuer",
    "ver": "Version; the audience decides which",
    "oid": "The user, everywhere in the tenant",
    "tid": "The tenant",
    "sub": "The user, other for each audience",
    "amr": "How the user signed in",
    "xms_cc": "What its client can handle",
}

blueprint = Blueprint("trace", __name__)


@blueprint.get("/trace/<uuid:correlation_id>")
def trace(correlation_id: UUID) -> str:
    """Every request with this correlation id, in order, with what its tokens say."""
    shown: set[str] = set()  # by their unique id
    steps = [_step(seen, shown) for seen in azure.recorder.of(str(correlation_id))]
    return render_template("trace.html", correlation_id=correlation_id, steps=steps)


def _step(seen: Recorded, shown: set[str]) -> dict[str, Any]:
    tokens = {_name(claims): claims for claims in (seen.presented, seen.issued) if claims}
    new = {name: claims for name, claims in tokens.items() if claims.get("uti") not in shown}
    shown.update(str(claims.get("uti")) for claims in new.values())
    rows = [
        (name, [claims.get(name, "") for claims in new.values()], meaning)
        for name, meaning in MEANINGS.items()
        if any(name in claims for claims in new.values())
    ]
    return {
        "title": TITLES.get(seen.hop, seen.hop),
        "seen": seen,
        "tokens": list(new),
        "rows": rows,
    }


def _name(claims: Json) -> str:
    return "Token B" if claims.get("ver") == "1.0" else "Token A"
