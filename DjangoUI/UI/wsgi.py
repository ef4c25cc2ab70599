"""What WSGI servers load: ``UI.wsgi:application``."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from Helpers.environment import settings_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())
_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    # The one form is in UTF-8. At a charset like rot13, no text encoding, Django fails before any
    # of its error handlers, and the server logs the address with its query string.
    environ["CONTENT_TYPE"] = environ.get("CONTENT_TYPE", "").partition(";")[0]
    return _django(environ, start_response)
