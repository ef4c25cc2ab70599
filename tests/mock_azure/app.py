"""The Flask application: the routes of both channels, their error bodies and headers."""

import re
import time
import uuid
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, abort, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from . import (  # fmt: skip
    arm,
    authorize,
    controls,
    discovery,
    faults,
    graph,
    identities,
    journey,
    record,
    token_endpoint,
)
from .errors import ArmError, EntraError, GraphError

if TYPE_CHECKING:
    from .azure import MockAzure

FRONT = {"front", "controls", "journey", "static", "identity"}
REDIRECTED = {"front.authorize", "front.logout"}  # to the front channel, if a client builds the URL


def create_app(azure: "MockAzure") -> Flask:
    """Return the application that serves ``azure``.

    A request through a listener reaches only the routes of its channel. A test's request without a
    socket reaches all of them.
    """
    app = Flask(__name__)
    app.extensions["mock_azure"] = azure
    app.jinja_env.globals["azure"] = azure
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for module in (authorize, controls, journey, discovery, token_endpoint, arm, graph, identities):
        app.register_blueprint(module.blueprint)

    @app.before_request
    def note_who_asks() -> None:
        g.started = time.perf_counter()
        g.user, g.sid = record.claimed(azure)
        g.browser = record.browser()

    @app.before_request
    def keep_channels_apart() -> Response | None:
        hosts = {"localhost", "127.0.0.1", "::1", *azure.host_names}
        if urlsplit(f"//{request.host}").hostname not in hosts:  # DNS rebinding
            abort(400)
        if channel := request.environ.get("mock_azure.channel"):
            is_front = (request.blueprint or request.endpoint) in FRONT
            if is_front and channel == "back" and request.endpoint in REDIRECTED:
                return redirect(f"{azure.front_url}{request.full_path}", 307)
            if request.endpoint and is_front != (channel == "front"):
                abort(404)
        return None

    @app.before_request
    def let_it_go_wrong() -> Response | None:
        if fault := azure.faults.take(record.hop(), g.user):
            g.fault = fault
            return fault.before()
        return None

    @app.errorhandler(EntraError)
    def entra_error(error: EntraError) -> ResponseReturnValue:
        g.answer = f"AADSTS{error.code}"
        body = {
            "error": error.error,
            "error_description": "",
            "error_codes": [error.code],
            "timestamp": azure.clock.stamp(),
            "trace_id": str(uuid.uuid4()),
            "correlation_id": correlation_id("client-request-id"),
            **({"suberror": error.suberror} if error.suberror else {}),
            **({"claims": error.claims} if error.claims else {}),
        }
        body["error_description"] = (
            f"{error.text} Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']} "
            f"Timestamp: {body['timestamp']}"
        )
        return jsonify(body), error.status

    @app.errorhandler(ArmError)
    def arm_error(error: ArmError) -> ResponseReturnValue:
        g.answer = error.code
        response = jsonify({"error": {"code": error.code, "message": error.text}})
        if error.claims:
            g.challenge = {"claims": error.claims}
            response.headers["WWW-Authenticate"] = (
                f'Bearer realm="", authorization_uri="{azure.front_url}/common/oauth2/authorize", '
                f'error="{error.challenge}", claims="{b64encode(error.claims.encode()).decode()}"'
            )
        elif error.challenge:
            response.headers["WWW-Authenticate"] = (
                f'Bearer authorization_uri="https://login.windows.net/{azure.tenant_id}", '
                f'error="{error.challenge}", error_description="{quotable(error.text)}"'
            )
        return response, error.status

    @app.errorhandler(GraphError)
    def graph_error(error: GraphError) -> ResponseReturnValue:
        """https://learn.microsoft.com/graph/errors"""
        g.answer = error.code
        inner = {
            "date": azure.clock.stamp().replace(" ", "T").removesuffix("Z"),
            "request-id": str(uuid.uuid4()),
            "client-request-id": correlation_id("client-request-id"),
        }
        envelope = {"code": error.code, "message": error.text, "innerError": inner}
        return jsonify({"error": envelope}), error.status

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        if request.environ.get("mock_azure.channel") == "back":  # the format of ARM and of Graph
            code = (error.name or "").replace(" ", "")
            return {"error": {"code": code, "message": error.description}}, error.code or 500
        return f"Mock Azure: {error.code} {error.name}.\n", error.code or 500, {
            "Content-Type": "text/plain; charset=utf-8"
        }  # fmt: skip

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        request_id = str(uuid.uuid4())
        headers["x-ms-request-id"] = request_id
        if request.blueprint == "arm":
            headers.update({"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1"})
            headers["Vary"] = "Accept-Encoding"
            correlation = correlation_id("x-ms-correlation-request-id", request_id)
            headers["x-ms-correlation-request-id"] = correlation
            headers["x-ms-routing-request-id"] = f"MOCK:{azure.clock.stamp()}:{request_id}"
            echo, ask = "x-ms-client-request-id", "x-ms-return-client-request-id"
        else:
            headers["x-ms-ests-server"] = "2.1.0 - MOCK"
            echo, ask = "client-request-id", "return-client-request-id"
        if request.headers.get(ask) == "true" and request.headers.get(echo):
            headers[echo] = correlation_id(echo)
        if request.blueprint in FRONT:
            headers["Cache-Control"] = "no-store"
            headers["Referrer-Policy"] = "no-referrer"
            form_action = g.get("form_action", "'none'")
            headers["Content-Security-Policy"] = (
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
                f"base-uri 'none'; frame-ancestors 'none'; form-action {form_action}"
            )
            if g.browser:
                cookie = record.BROWSER_COOKIE
                response.set_cookie(cookie, g.browser, httponly=True, samesite="Lax")
        azure.recorder.add(azure.clock.now(), response)
        if fault := faults.current():
            fault.after(response)
        return response

    return app


def correlation_id(header: str, fallback: str = "") -> str:
    """Return the GUID that the client sent in ``header``, else ``fallback``, else a new one."""
    try:
        return str(uuid.UUID(request.headers.get(header, "")))
    except ValueError:
        return fallback or str(uuid.uuid4())


def quotable(text: str) -> str:
    """Return ``text`` with only the characters that RFC 6750 section 3 allows."""
    return re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", " ", text)
