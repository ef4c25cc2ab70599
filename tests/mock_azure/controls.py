"""The controls over HTTP, for other languages, and the front page's buttons (front channel).

They accept requests from this machine only, or from the network ``controls_from``, and never from
another site's page in the browser. They send no CORS headers, so such a page can't read a response
either.
"""

import json
from dataclasses import asdict
from ipaddress import ip_address

from flask import Blueprint, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from .context import azure
from .scenarios import SCENARIOS

RESET = "reset"

blueprint = Blueprint("controls", __name__)


@blueprint.before_request
def keep_others_out() -> ResponseReturnValue | None:
    """https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site"""
    address = ip_address(request.remote_addr or "0.0.0.0")
    network = azure.controls_from
    if not (address.is_loopback if network is None else address in network):
        return {"error": f"The controls are for clients on {network or 'this machine'}."}, 403
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    same = (
        site in ("same-origin", "none") if site else origin in (None, request.host_url.rstrip("/"))
    )
    return None if same else ({"error": "The controls reject requests from other sites."}, 403)


@blueprint.get("/controls")
def controls() -> ResponseReturnValue:
    """Return every scenario, and since when it is on."""
    return {"controls": azure.scenarios.all()}


@blueprint.route("/controls/<name>", methods=["POST", "DELETE"])
def switch(name: str) -> ResponseReturnValue:
    """Switch a scenario on or off, for one ``user`` if it affects one; ``reset`` undoes all."""
    return _switch(name, on=request.method == "POST") or {"controls": azure.scenarios.all()}


@blueprint.post("/scenarios/<name>")
def button(name: str) -> ResponseReturnValue:
    """Handle a button of the front page, and redirect back to that page."""
    refusal = _switch(name, on=request.form.get("switch") == "on")
    return refusal or redirect(url_for("front.index", _anchor=name), 303)


@blueprint.post("/controls/token")
def access_token() -> ResponseReturnValue:
    """Return an access token for the API and ``user``; ``claims`` (JSON) replace its own."""
    try:
        claims = json.loads(request.form.get("claims", "{}"))
        token = azure.access_token(_user(), **claims)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {"error": f"user is one of {', '.join(azure.users)}; claims is a JSON object."}, 400
    return {"token_type": "Bearer", "access_token": token}


@blueprint.get("/recorded")
def recorded() -> ResponseReturnValue:
    """Return the requests so far, oldest first; only those of ``hop`` or ``user`` if given."""
    requests = azure.requests(request.args.get("hop"), request.args.get("user"))
    return {"recorded": [asdict(recorded) for recorded in requests]}


def _switch(name: str, on: bool) -> ResponseReturnValue | None:
    if name == RESET and on:
        azure.reset()
    elif name not in SCENARIOS:
        return {"error": f"There is no such control. There are {', '.join(SCENARIOS)}."}, 404
    elif (user := _user()) not in azure.users:
        return {"error": f"There is no such user. There are {', '.join(azure.users)}."}, 400
    elif on:
        azure.scenarios.switch_on(name, user)
    else:
        azure.scenarios.switch_off(name)
    return None


def _user() -> str:
    """Return the user named in the request, else this browser's user, else Alice."""
    return request.form.get("user") or g.user or "alice"
