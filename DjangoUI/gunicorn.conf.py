"""Gunicorn's settings. Run ``gunicorn UI.wsgi`` in this folder to use them."""

import logging
import re
from typing import Any

preload_app = True  # wrong settings stop gunicorn with one message; changes need a restart
worker_class = "gthread"
workers = 2
threads = 8  # a slow client occupies one, so put a buffering proxy in front
timeout = 60  # seconds; each call to the API takes at most 28
limit_request_line = 8190  # sign-in codes are long
limit_request_field_size = 32 * 1024  # so are the cookies of unfinished sign-ins
accesslog = None  # the app logs each request itself, without the query string: it may hold a code
# BEHIND_TLS_PROXY tells Django whether to trust the header that says https.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""  # no request header may say where this app is mounted
control_socket_disable = True  # gunicorn writes no file next to the code


def on_starting(server: Any) -> None:
    """Keep request data out of gunicorn's own log: it may contain a code or a token."""
    server.log.error_log.addFilter(_without_query_and_header)


def _without_query_and_header(record: logging.LogRecord) -> bool:
    """Remove the request data from lines such as these two.

    ``Invalid request from ip=::1: Invalid HTTP Header: 'Authorization Bearer <token>'``
    ``Error handling request /account/callback?code=0.Ab``
    """
    record.msg = re.sub(r"\?\S*|(?<=Invalid HTTP Header: ).*", "", record.getMessage())
    record.args = ()
    return True
