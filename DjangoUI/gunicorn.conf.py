"""How gunicorn serves this app: ``gunicorn UI.wsgi`` in this folder."""

import logging
import re
from typing import Any

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
    """Keep what clients send out of gunicorn's own lines: it may hold a code or a token."""
    server.log.error_log.addFilter(_without_what_was_sent)


def _without_what_was_sent(record: logging.LogRecord) -> bool:
    record.msg = re.sub(r"\?\S*|(?<=Invalid HTTP Header: ).*", "", record.getMessage())
    record.args = ()
    return True
