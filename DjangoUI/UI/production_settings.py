"""In production: https only, on one host."""

from UI.base_settings import *  # noqa: F403  # both modes share these, as is usual in Django
from UI.base_settings import PRODUCTION_HOST

ALLOWED_HOSTS = [PRODUCTION_HOST]

SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Browsers' preload lists take whole domains for good, which is not for a sample to ask.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# __Host-: browsers take these from this very host and over https only.
SESSION_COOKIE_NAME = "__Host-subscriptions_session"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-subscriptions_csrf"
CSRF_COOKIE_SECURE = True

# "manage.py collectstatic" gives the files hashed names; browsers then keep them for good.
STORAGES = {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
