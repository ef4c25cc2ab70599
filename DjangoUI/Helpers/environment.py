"""Read this app's settings. No other module reads the environment or .env files."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values

APP_DIR = Path(__file__).resolve().parent.parent

MODE = "ENVIRONMENT"
TEMPLATE = "production.env"
PLACEHOLDER = re.compile(r"ReplaceWith|Flask_API_Client_ID")
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# fmt: off
CREDENTIALS = ("CLIENT_SECRET", "CLIENT_CERTIFICATE", "CLIENT_ASSERTION_FILE",
               "MANAGED_IDENTITY_CLIENT_ID")
# fmt: on
SECRET_KEY_LENGTH = 32


def settings_module(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the settings module that ``ENVIRONMENT`` selects.

    :raises ImproperlyConfigured: if it is neither development nor production.
    """
    return f"UI.{_mode(environ)}_settings"


def load_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return every setting as text: real environment variables win over ``<ENVIRONMENT>.env``.

    ``ENV_FILE`` names another file; ``ENV_FILE=`` (empty) reads none.

    :raises ImproperlyConfigured: naming the file and, for each wrong key, what is wrong with it.
    """
    mode = _mode(environ)
    name = environ.get("ENV_FILE", f"{mode}.env")
    env_file = APP_DIR / name if name else None
    in_file = _read(env_file) if env_file else {}
    in_environ = {key: environ[key].strip() for key in CHECKS if key in environ}

    settings = dict.fromkeys(CHECKS, "") | DEFAULTS | in_file | in_environ | {MODE: mode}
    problems = [*_problems(settings), *_problems_of_file(in_file, mode)]
    if problems:
        where = f"{env_file} or the environment" if env_file else "the environment"
        if env_file and name != TEMPLATE and not env_file.is_file():
            where += f" (that file does not exist: copy {TEMPLATE} to it)"
        raise ImproperlyConfigured("\n  ".join([f"Fix these settings in {where}:", *problems]))
    return settings


def _mode(environ: Mapping[str, str]) -> str:
    mode = environ.get(MODE, "").lower()
    if mode not in ("development", "production"):
        raise ImproperlyConfigured(f"{MODE} is {mode!r}. Set it to 'development' or 'production'.")
    return mode


def _read(env_file: Path) -> dict[str, str]:
    # No interpolation, because a secret may contain a dollar sign. Windows editors may add a BOM.
    try:
        values = dotenv_values(env_file, interpolate=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImproperlyConfigured(f"{env_file} is not UTF-8: save it in that encoding.") from error
    return {key: (value or "").strip() for key, value in values.items()}


def _problems(settings: Mapping[str, str]) -> Iterator[str]:
    production = settings[MODE] == "production"
    for key, check in CHECKS.items():
        value = settings[key]
        if not value:
            if key not in OPTIONAL or (key == "PRODUCTION_HOST" and production):
                yield f"{key} is missing."
        elif PLACEHOLDER.search(value):
            # Development does not use the template's host name.
            if key != "PRODUCTION_HOST" or production:
                yield f"{key} still has the template's placeholder."
        elif reason := check(value):
            yield f"{key} {reason}"
    if re.fullmatch(GUID, settings["CLIENT_SECRET"]):
        yield "CLIENT_SECRET is the secret's ID. Use its Value, which is shown only once."
    if sum(bool(settings[key]) for key in CREDENTIALS) != 1:
        yield f"Set exactly one of {', '.join(CREDENTIALS)}. Delete the lines of the others."
    if settings["SCOPE"].rpartition("/")[0] != settings["API_SCOPE"].rpartition("/")[0]:
        yield "SCOPE and API_SCOPE must be scopes of the same API."
    if settings["CLIENT_ID"] and f"/{settings['CLIENT_ID']}/" in settings["API_SCOPE"]:
        yield "CLIENT_ID must be this app's, and the ID in SCOPE and API_SCOPE the API's."
    if production and (reason := _safe_elsewhere(settings["FLASK_BACKEND_URL"])):
        yield f"FLASK_BACKEND_URL {reason} Access tokens are sent there."
    for key in ("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI"):
        if production and urlsplit(settings[key]).hostname != settings["PRODUCTION_HOST"]:
            yield f"{key} must be an address of PRODUCTION_HOST."


def _problems_of_file(in_file: Mapping[str, str], mode: str) -> Iterator[str]:
    for key in in_file:
        if key not in CHECKS:
            yield f"{key} is not a setting of this app. Is it misspelled?"
    if mode == "production":
        for key in SECRETS:
            if in_file.get(key) and not PLACEHOLDER.search(in_file[key]):
                yield f"{key} is in a file tracked by Git. Put a new one in the environment."


def _file(value: str) -> str | None:
    return None if Path(value).is_file() else f"names a file that does not exist: {value}"


def _secret_keys(value: str) -> str | None:
    if all(len(key) >= SECRET_KEY_LENGTH for key in value.split(" ")):
        return None
    return (
        f"must be at least {SECRET_KEY_LENGTH} characters long. This makes one: "
        'python -c "import secrets; print(secrets.token_urlsafe(50))"'
    )


def _matches(pattern: str, reason: str) -> Callable[[str], str | None]:
    """Return a check that returns ``None``, or the rest of a sentence that begins with the key."""
    return lambda value: None if re.fullmatch(pattern, value, re.ASCII) else reason


HOST = r"[\w.-]+(:\d+)?"
SAFE = rf"(https://{HOST}|http://localhost(:\d+)?)"
_safe_address = _matches(
    rf"{SAFE}(/\S*)?", "must begin with https://; http:// is for localhost only."
)
# This address need not be registered with Entra, so 127.0.0.1 is allowed besides localhost.
_safe_elsewhere = _matches(
    rf"(https://{HOST}|http://(localhost|127\.0\.0\.1)(:\d+)?)/\S*",
    "must begin with https://; http:// is for this machine only.",
)

CHECKS: dict[str, Callable[[str], str | None]] = {
    "FLASK_BACKEND_URL": _matches(rf"https?://{HOST}/\S*", "must be a web address with a path."),
    "CLIENT_ID": _matches(GUID, "must be a GUID in lower case, as the portal shows it."),
    "CLIENT_SECRET": lambda value: None,
    "CLIENT_CERTIFICATE": _file,
    "CLIENT_ASSERTION_FILE": _file,
    "MANAGED_IDENTITY_CLIENT_ID": _matches(GUID, "must be the identity's client ID, a GUID."),
    "DJANGO_SECRET_KEY": _secret_keys,
    "DJANGO_SECRET_KEY_FALLBACKS": _secret_keys,
    "AUTHORITY": _matches(
        f"https://{HOST}/{GUID}",
        "must be https://<sign-in host>/<tenant ID>, the tenant ID being a GUID (not a domain "
        "name, common, organizations or consumers), with nothing after it.",
    ),
    "REDIRECT_URI": _matches(
        f"{SAFE}/account/callback",
        "must begin with https:// (http:// is for localhost only) and end in /account/callback.",
    ),
    "POST_LOGOUT_REDIRECT_URI": _safe_address,
    "LOGIN_URL": _matches("/account/login", "must be /account/login, where the app signs in."),
    "LOGOUT_URL": _safe_elsewhere,
    "SCOPE": _matches(rf"api://{GUID}/\.default", "must be api://<API's client ID>/.default."),
    "API_SCOPE": _matches(
        rf"api://{GUID}/[\w.-]+", "must be api://<API's client ID>/<scope>, e.g. access_as_user."
    ),
    "PRODUCTION_HOST": _matches(r"[\w-]+(\.[\w-]+)*", "must be a host name without https://."),
    "CA_BUNDLE": _file,
    "REDIS_URL": _matches(r"(rediss?|unix)://\S+", "must be a redis:// or rediss:// address."),
    "BEHIND_TLS_PROXY": _matches(r"true|false", "must be true or false."),
    "DATABASE_PATH": lambda value: None,
    "TRACE_URL": _matches(rf"https?://{HOST}/(\S*/)?", "must be an address that ends in a slash."),
    "LOG_LEVEL": _matches("|".join(LOG_LEVELS), f"must be one of {', '.join(LOG_LEVELS)}."),
}
DEFAULTS = {
    "BEHIND_TLS_PROXY": "false",
    "DATABASE_PATH": str(APP_DIR / "db.sqlite3"),
    "LOG_LEVEL": "INFO",
}
# fmt: off
OPTIONAL = {
    *CREDENTIALS, "DJANGO_SECRET_KEY_FALLBACKS", "LOGOUT_URL", "PRODUCTION_HOST", "CA_BUNDLE",
    "REDIS_URL", "TRACE_URL", *DEFAULTS,
}
# fmt: on
SECRETS = ("CLIENT_SECRET", "DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FALLBACKS")
