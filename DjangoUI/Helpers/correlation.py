"""What belongs to the request that a thread works on, and how log lines show it."""

import logging
import re
from contextvars import ContextVar

from django.conf import settings

CORRELATION_HEADER = "x-ms-client-request-id"

# A GUID made for each request: Entra, the API and Azure get it too, so that one search finds all.
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")


def trace_url(reference: str) -> str:
    """Return where the mock shows the request with this id; empty without it or in production."""
    if settings.ENVIRONMENT != "development" or not settings.TRACE_URL:
        return ""
    return f"{settings.TRACE_URL}{reference}"


class SafeLogRecords(logging.Filter):
    """Adds the correlation id, and takes query strings out: sign-in codes come in them."""

    QUERY = re.compile(r"\?[^\s\"']*")

    def filter(self, record: logging.LogRecord) -> bool:
        record.correlation_id = correlation_id.get()
        if isinstance(record.args, tuple):
            record.args = tuple(
                self.QUERY.sub("", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True
