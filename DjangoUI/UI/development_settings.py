"""Settings for development: http, on localhost."""

from UI.base_settings import *  # noqa: F403  # both modes share these, as is usual in Django
from UI.base_settings import MIDDLEWARE

ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
MIDDLEWARE = [*MIDDLEWARE, "UI.middleware.localhost"]

# Serve static files without collectstatic.
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 0
