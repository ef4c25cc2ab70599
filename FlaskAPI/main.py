"""The application factory; ``flask run`` and gunicorn find it here."""

import logging

from flask import Flask
from werkzeug.exceptions import HTTPException

from blueprints.subscriptions_bp import subscriptions_bp
from helpers import errors, request_scope
from helpers.entra import Entra
from helpers.environment import load_settings
from helpers.http_session import http_session
from helpers.signing_keys import SigningKeys
from helpers.token_cache import TokenCache


def create_app(settings: dict[str, str] | None = None) -> Flask:
    """Return the API. It calls no other server before the first request.

    :param settings: in the form that ``load_settings`` returns, which is also the default.
    """
    settings = load_settings() if settings is None else settings
    logging.basicConfig(
        level=settings["LOG_LEVEL"], format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("werkzeug").addFilter(_is_not_access_log)

    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keep Azure's order
    app.config.from_mapping(settings, TENANT_ID=settings["AUTHORITY"].rpartition("/")[2])
    # One session per upstream. Sessions hold connections, never credentials.
    entra_session = http_session(settings["CA_BUNDLE"])
    app.extensions["arm_session"] = http_session(settings["CA_BUNDLE"])
    app.extensions["signing_keys"] = SigningKeys(entra_session, settings["ISSUER"])
    app.extensions["entra"] = Entra(settings, entra_session)
    app.extensions["token_cache"] = TokenCache()

    app.before_request(request_scope.begin)
    app.after_request(request_scope.end)
    app.register_error_handler(errors.ApiError, errors.respond)
    app.register_error_handler(HTTPException, errors.respond_http)
    app.register_error_handler(Exception, errors.respond_unexpected)
    app.register_blueprint(subscriptions_bp)
    app.add_url_rule("/health", view_func=health)
    return app


def _is_not_access_log(record: logging.LogRecord) -> bool:
    """Drop the development server's access log, which contains query strings.

    This API logs each request itself. The access log's format is ``"%s" %s %s``, as in
    ``127.0.0.1 - - [date] "GET /?code=secret HTTP/1.1" 401 -``.
    """
    return '"%s" %s %s' not in str(record.msg)


def health() -> dict[str, str]:
    """Report that this process is up. It makes no calls, so it works even while Entra is down."""
    return {"status": "ok"}
