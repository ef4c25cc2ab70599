"""How gunicorn serves this app: ``gunicorn UI.wsgi`` in this folder."""

import logging
import re
from typing import Any

preload_app = True  # wrong settings end gunicorn with one message; new ones need a restart
worker_class = "gthread"
workers = 2
threads = 8  # a client that sends slowly holds one: a proxy that buffers belongs in front
timeout = 60  # seconds; the app itself waits 28 for its API
limit_request_line = 8190  # sign-in codes are long
limit_request_field_size = 32 * 1024  # as are the cookies of unfinished sign-ins
accesslog = None  # the app logs each request itself, without the query string: it may hold a code
# Django decides by BEHIND_TLS_PROXY whether the browser used https.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""  # no header may say where this app is mounted
control_socket_disable = True  # gunicorn writes no file beside the code


def on_starting(server: Any) -> None:
    """Keep what clients send out of gunicorn's own log: it may be a code or a token."""
    server.log.error_log.addFilter(_without_query_and_header)


def _without_query_and_header(record: logging.LogRecord) -> bool:
    """Cut what a client sent out of lines such as these two, and keep the rest.

    ``Invalid request from ip=::1: Invalid HTTP Header: 'Authorization Bearer <token>'``
    ``Error handling request /account/callback?code=0.Ab``
    """
    record.msg = re.sub(r"\?\S*|(?<=Invalid HTTP Header: ).*", "", record.getMessage())
    record.args = ()
    return True
