"""The application factory; ``flask run`` and gunicorn find it here."""

import logging

from flask import Flask
from werkzeug.exceptions import HTTPException

from blueprints.subscriptions_bp import subscriptions_bp
from helpers import errors, request_context
from helpers.environment import load_settings
from helpers.http_session import http_session
from helpers.signing_keys import SigningKeys
from helpers.token_acquisition import OnBehalfOf


def create_app(settings: dict[str, str] | None = None) -> Flask:
    """Return the API, wired but idle: it calls nobody before the first request.

    :param settings: as ``load_settings`` returns them, which is the default.
    """
    settings = load_settings() if settings is None else settings
    logging.basicConfig(
        level=settings["LOG_LEVEL"], format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    # The development server would log query strings; request_context logs every request without.
    logging.getLogger("werkzeug").addFilter(lambda record: '"%s" %s %s' not in str(record.msg))

    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # //subscriptions is not found, rather than a redirect
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Azure's order is as good
    app.config.from_mapping(settings, TENANT_ID=settings["AUTHORITY"].rpartition("/")[2])
    # One session for each upstream. They hold connections, never credentials.
    entra_session = http_session(settings["CA_BUNDLE"])
    app.extensions["arm_session"] = http_session(settings["CA_BUNDLE"])
    app.extensions["signing_keys"] = SigningKeys(entra_session, settings["ISSUER"])
    app.extensions["on_behalf_of"] = OnBehalfOf(settings, entra_session)

    request_context.init_app(app)
    app.register_error_handler(errors.ApiError, errors.respond)
    app.register_error_handler(HTTPException, errors.respond_http)
    app.register_error_handler(Exception, errors.respond_unexpected)
    app.register_blueprint(subscriptions_bp)
    app.add_url_rule("/health", view_func=health)
    return app


def health() -> dict[str, str]:
    """Say that this process answers. Asks nobody, so a probe can't take the API down with Entra."""
    return {"status": "ok"}
