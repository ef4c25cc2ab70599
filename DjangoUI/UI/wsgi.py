"""What WSGI servers load: ``UI.wsgi:application``."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from Helpers.environment import settings_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())
_django = get_wsgi_application()
if settings.ENVIRONMENT == "production" and not Path(settings.STATIC_ROOT).is_dir():
    raise ImproperlyConfigured('Run "python manage.py collectstatic" before you start this app.')


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    # Django fails before any of its error handlers if the charset is rot13 or another codec that
    # is not for text. The only form is in UTF-8.
    environ["CONTENT_TYPE"] = environ.get("CONTENT_TYPE", "").partition(";")[0]
    return _django(environ, start_response)
