"""Settings for production: https only, on one host."""

from UI.base_settings import *  # noqa: F403  # both modes share these, as is usual in Django
from UI.base_settings import PRODUCTION_HOST

ALLOWED_HOSTS = [PRODUCTION_HOST]

SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Preload lists apply to whole domains and are hard to leave, so this sample does not ask for it.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# With __Host-, browsers accept these cookies only from this host and over https.
SESSION_COOKIE_NAME = "__Host-subscriptions_session"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-subscriptions_csrf"
CSRF_COOKIE_SECURE = True

# "manage.py collectstatic" adds hashes to the file names, so browsers can cache the files forever.
STORAGES = {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
