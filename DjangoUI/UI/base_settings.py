"""The Django settings that both modes share. ``Helpers.environment`` reads the values."""

from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from Helpers.database import PrivateConnection
from Helpers.environment import APP_DIR, load_settings

env = load_settings()

# --- Settings of this app, under the names that README.md explains ---
ENVIRONMENT = env["ENVIRONMENT"]
FLASK_BACKEND_URL = env["FLASK_BACKEND_URL"]
CLIENT_ID = env["CLIENT_ID"]
CLIENT_SECRET = env["CLIENT_SECRET"]
CLIENT_CERTIFICATE = env["CLIENT_CERTIFICATE"]
CLIENT_ASSERTION_FILE = env["CLIENT_ASSERTION_FILE"]
MANAGED_IDENTITY_CLIENT_ID = env["MANAGED_IDENTITY_CLIENT_ID"]
AUTHORITY = env["AUTHORITY"]
REDIRECT_URI = env["REDIRECT_URI"]
POST_LOGOUT_REDIRECT_URI = env["POST_LOGOUT_REDIRECT_URI"]
LOGIN_URL = env["LOGIN_URL"]
LOGOUT_URL = env["LOGOUT_URL"] or f"{AUTHORITY}/oauth2/v2.0/logout"
SCOPE = env["SCOPE"]
API_SCOPE = env["API_SCOPE"]
PRODUCTION_HOST = env["PRODUCTION_HOST"]
CA_BUNDLE = env["CA_BUNDLE"]
REDIS_URL = env["REDIS_URL"]
DATABASE_PATH = env["DATABASE_PATH"]
TRACE_URL = env["TRACE_URL"]
LOG_LEVEL = env["LOG_LEVEL"]

# --- Django ---
SECRET_KEY = env["DJANGO_SECRET_KEY"]
SECRET_KEY_FALLBACKS = env["DJANGO_SECRET_KEY_FALLBACKS"].split()

# Off in development too: Django's debug pages show local variables, which contain tokens here.
# The log shows each unexpected error with its traceback.
DEBUG = False

ROOT_URLCONF = "UI.urls"
WSGI_APPLICATION = "UI.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "Account",
    "AzureManagement",
]
MIDDLEWARE = [
    "UI.middleware.health",
    "UI.middleware.correlation",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "UI.middleware.session_cookie",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "UI.middleware.ErrorPages",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [APP_DIR / "templates"],
        "APP_DIRS": True,
    }
]
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# --- Sessions: they contain tokens, so they stay on the server ---
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        # With Redis the database is not used, but "manage.py migrate" needs one.
        "NAME": ":memory:" if REDIS_URL else DATABASE_PATH,
        "CONN_MAX_AGE": 600,  # seconds
        "OPTIONS": {
            "factory": PrivateConnection,
            # Workers can read while one of them writes; writers wait for each other.
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,  # seconds
        },
    }
}
if REDIS_URL:
    SESSION_ENGINE = "Helpers.redis_sessions"
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {
                # JSON, because Django's default unpickles what it reads from Redis.
                "serializer": "django.core.signing.JSONSerializer",
                "socket_connect_timeout": 3,  # seconds
                "socket_timeout": 3,
            },
        }
    }
SESSION_COOKIE_NAME = "subscriptions_session"  # distinct, as ports of localhost share cookies
SESSION_COOKIE_AGE = 8 * 60 * 60  # seconds; how long sessions last on the server
# Not Strict: Entra, which is another site, redirects to the callback.
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "subscriptions_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "Helpers.error_pages.csrf_failure"

# --- Headers ---
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "style-src": [SELF],
        "img-src": [SELF],
        # The sign-out form redirects to Entra.
        "form-action": [SELF, "{0.scheme}://{0.netloc}".format(urlsplit(LOGOUT_URL))],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"  # not stricter: Django's CSRF check needs the origin
X_FRAME_OPTIONS = "DENY"
if env["BEHIND_TLS_PROXY"] == "true":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- Static files, which WhiteNoise serves ---
STATIC_URL = "/static/"
STATIC_ROOT = APP_DIR / "staticfiles"
STATICFILES_DIRS = [APP_DIR / "static"]
WHITENOISE_ALLOW_ALL_ORIGINS = False

# --- Logs: one line per event on standard error, without query strings ---
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"safe": {"()": "Helpers.correlation.SafeLogRecords"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(correlation_id)s %(message)s"}
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "filters": ["safe"], "formatter": "line"}
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL},
        # runserver would log each request again, after UI.middleware.
        "django.server": {"handlers": [], "level": "CRITICAL", "propagate": True},
        # Below ERROR this logs requests too, with the path, which clients choose.
        "django.request": {"level": "ERROR"},
        # Helpers.error_pages logs these without a traceback.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # At DEBUG these log the data that they send, or all values in a page.
        "msal": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "django.template": {"level": "INFO"},
    },
}
