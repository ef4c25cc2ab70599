"""The WSGI application, for a server such as gunicorn: ``UI.wsgi:application``."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from Helpers.environment import settings_module

try:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())
    application = get_wsgi_application()
except ImproperlyConfigured as error:
    sys.exit(f"Error: {error}")
if settings.ENVIRONMENT == "production" and not settings.STATIC_ROOT.is_dir():
    sys.exit('Error: Run "python manage.py collectstatic" before you start this app.')
