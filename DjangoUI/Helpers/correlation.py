"""The correlation ID of the current request, and its place in log lines."""

import logging
import re
from contextvars import ContextVar

from django.conf import settings

CORRELATION_HEADER = "x-ms-client-request-id"

# A new GUID for each request. Entra, the API and Azure receive it too, so one search in the logs
# finds every step.
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")


def trace_url(reference: str) -> str:
    """Return the address where the mock shows this request, or an empty string without a mock."""
    if settings.ENVIRONMENT != "development" or not settings.TRACE_URL:
        return ""
    return f"{settings.TRACE_URL}{reference}"


class SafeLogRecords(logging.Filter):
    """Adds the correlation ID, and removes query strings, which may contain sign-in codes."""

    QUERY = re.compile(r"\?[^\s\"']*")

    def filter(self, record: logging.LogRecord) -> bool:
        record.correlation_id = correlation_id.get()
        if isinstance(record.args, tuple):
            record.args = tuple(
                self.QUERY.sub("", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True
