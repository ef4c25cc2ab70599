"""The mock that serves the current request, for the views."""

from typing import TYPE_CHECKING

from flask import current_app
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from .azure import MockAzure


def _current() -> "MockAzure":
    azure: MockAzure = current_app.extensions["mock_azure"]
    return azure


azure: "MockAzure" = LocalProxy(_current)  # type: ignore[assignment]
