"""Settings for production: https only, on one host."""

from UI.base_settings import *  # noqa: F403  # both modes share these, as is usual in Django
from UI.base_settings import PRODUCTION_HOST

ALLOWED_HOSTS = [PRODUCTION_HOST]

SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Preload lists apply to whole domains and are hard to leave, so a sample should not ask for that.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# __Host-: browsers accept these cookies only from this host and over https.
SESSION_COOKIE_NAME = "__Host-subscriptions_session"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-subscriptions_csrf"
CSRF_COOKIE_SECURE = True

# "manage.py collectstatic" puts a hash into the file names, so browsers can cache them forever.
STORAGES = {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
