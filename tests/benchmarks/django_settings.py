"""DjangoUI's settings for production, but for plain http and without ``collectstatic``."""

from Helpers.environment import APP_DIR
from UI.production_settings import *  # noqa: F403  # as every settings module does

ENVIRONMENT = "production"
SECURE_SSL_REDIRECT = False
SESSION_COOKIE_NAME, SESSION_COOKIE_SECURE = "session", False
CSRF_COOKIE_NAME, CSRF_COOKIE_SECURE = "csrf", False
STATIC_ROOT = APP_DIR / "static"  # the app starts only if this folder exists
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
