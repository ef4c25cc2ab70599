"""What WSGI servers load: ``UI.wsgi:application``."""

import os
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from Helpers.environment import settings_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())
application = get_wsgi_application()
if settings.ENVIRONMENT == "production" and not Path(settings.STATIC_ROOT).is_dir():
    raise ImproperlyConfigured('Run "python manage.py collectstatic" before you start this app.')
