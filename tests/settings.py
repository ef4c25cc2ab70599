"""Django's settings in tests: those of development, with fixed values.

Flask's and Django's tests share one process, so the environment is put back at once.
"""

from unittest import mock

DJANGO_UI = {
    "ENVIRONMENT": "development",
    "ENV_FILE": "",
    "FLASK_BACKEND_URL": "http://localhost:5000/subscriptions",
    "CLIENT_ID": "11111111-1111-4111-8111-111111111111",
    "CLIENT_SECRET": "a client secret of the tests",
    "DJANGO_SECRET_KEY": "a-secret-key-of-the-tests-long-enough-to-please-Django-too",
    "AUTHORITY": "https://login.example/22222222-2222-4222-8222-222222222222",
    "REDIRECT_URI": "http://localhost:8000/account/callback",
    "POST_LOGOUT_REDIRECT_URI": "http://localhost:8000/account/signed-out",
    "LOGIN_URL": "/account/login",
    "SCOPE": "api://33333333-3333-4333-8333-333333333333/.default",
    "API_SCOPE": "api://33333333-3333-4333-8333-333333333333/access_as_user",
    "DATABASE_PATH": ":memory:",
}

with mock.patch.dict("os.environ", DJANGO_UI, clear=True):
    from UI.development_settings import *  # noqa: F403  # as every settings module does

ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]  # noqa: F405  # Django's test client calls it so
