"""How gunicorn serves this API: ``gunicorn "main:create_app()"`` in this folder."""

import logging
import re
from typing import Any

worker_class = "gthread"
workers = 2
threads = 8  # a client that sends slowly holds one: a proxy that buffers belongs in front
timeout = 60  # seconds; the API itself answers within 20
keepalive = 75  # seconds; the UI keeps its connections open between requests
limit_request_field_size = 20 * 1024  # an access token may be long; the API refuses above 16 KiB
accesslog = None  # the API logs each request itself, without the query string
forwarder_headers = ""  # nobody may say where this app is mounted
control_socket_disable = True  # writes nothing beside the code


def on_starting(server: Any) -> None:
    """Keep what clients send out of gunicorn's own log: it may be a code or a token."""
    server.log.error_log.addFilter(_without_query_and_header)


def _without_query_and_header(record: logging.LogRecord) -> bool:
    """Cut what a client sent out of lines such as these two, and keep the rest.

    ``Invalid request from ip=::1: Invalid HTTP Header: 'Authorization Bearer <token>'``
    ``Error handling request /subscriptions?code=secret``
    """
    record.msg = re.sub(r"\?\S*|(?<=Invalid HTTP Header: ).*", "", record.getMessage())
    record.args = ()
    return True
