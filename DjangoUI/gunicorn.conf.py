"""How gunicorn serves this app: ``gunicorn UI.wsgi`` in this folder."""

import logging
import re
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured

worker_class = "gthread"
workers = 2
threads = 8  # a client that sends slowly holds one: a proxy that buffers belongs in front
timeout = 60  # seconds; the app itself waits 28 for its API
limit_request_line = 8190  # sign-in codes are long
limit_request_field_size = 32 * 1024  # as are the cookies of unfinished sign-ins
accesslog = None  # the app logs each request itself, without the query string: it may hold a code
# Whether the browser used https is for Django to judge, by BEHIND_TLS_PROXY.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""  # nobody may say where this app is mounted
control_socket_disable = True  # writes nothing beside the code


def on_starting(server: Any) -> None:
    """Load the app once before any worker does, to say in one sentence why it can't start."""
    server.log.error_log.addFilter(hide_what_clients_sent)
    try:
        server.app.wsgi()
    except ImproperlyConfigured as error:
        sys.exit(f"Error: {error}")


def hide_what_clients_sent(record: logging.LogRecord) -> bool:
    """Cut query strings and headers off gunicorn's own lines: they may hold a code or a token.

    "Error handling request /account/callback?code=0.Ab" ends after "callback", and "Invalid HTTP
    Header: 'Authorization Bearer <token>'" after the colon.
    """
    line = re.sub(r"\?\S*", "", record.getMessage())
    record.msg = re.sub(r"(Invalid HTTP Header: ).*", r"\1", line)
    record.args = ()
    return True
