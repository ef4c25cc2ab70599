"""Read this API's settings. No other module reads the environment or .env files."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
from dotenv import dotenv_values

APP_DIR = Path(__file__).resolve().parent.parent

# Flask itself has ignored FLASK_ENV since version 2.3; here it chooses the file to read.
MODE = "FLASK_ENV"
TEMPLATE = "production.env"
PLACEHOLDER = re.compile(r"ReplaceWith|Flask_API_Client_ID")
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HTTPS = r"https://[\w.-]+(?::\d+)?"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# fmt: off
CREDENTIALS = ("CLIENT_SECRET", "CLIENT_CERTIFICATE", "CLIENT_ASSERTION_FILE",
               "MANAGED_IDENTITY_CLIENT_ID")
# fmt: on


class ConfigurationError(click.ClickException, RuntimeError):
    """The settings are wrong.

    ``flask run`` prints a ``ClickException`` without a traceback, and gunicorn a ``RuntimeError``.
    """


def load_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return every setting as text: real environment variables win over ``<FLASK_ENV>.env``.

    ``ENV_FILE`` names another file; ``ENV_FILE=`` (empty) reads none.

    :raises ConfigurationError: naming the file and, for each wrong key, what is wrong with it.
    """
    mode = environ.get(MODE, "").lower()
    if mode not in ("development", "production"):
        raise ConfigurationError(f"{MODE} is {mode!r}. Set it to 'development' or 'production'.")
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
        raise ConfigurationError("\n  ".join([f"Fix these settings in {where}:", *problems]))
    return settings


def _read(env_file: Path) -> dict[str, str]:
    # No interpolation, because a secret may contain a dollar sign. Windows editors may add a BOM.
    try:
        values = dotenv_values(env_file, interpolate=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{env_file} is not UTF-8: save it in that encoding.") from error
    return {key: (value or "").strip() for key, value in values.items()}


def _problems(settings: Mapping[str, str]) -> Iterator[str]:
    for key, check in CHECKS.items():
        value = settings[key]
        if not value:
            if key not in OPTIONAL:
                yield f"{key} is missing."
        elif PLACEHOLDER.search(value):
            yield f"{key} still has the template's placeholder."
        elif reason := check(value):
            yield f"{key} {reason}"
    if re.fullmatch(GUID, settings["CLIENT_SECRET"]):
        yield "CLIENT_SECRET is the secret's ID. Use its Value, which is shown only once."
    if sum(bool(settings[key]) for key in CREDENTIALS) != 1:
        yield f"Set exactly one of {', '.join(CREDENTIALS)}. Delete the lines of the others."
    # If AUTHORITY is wrong, that has been reported, and this would add nothing.
    authority, issuer = settings["AUTHORITY"], settings["ISSUER"]
    if issuer and not CHECKS["AUTHORITY"](authority) and issuer != f"{authority}/v2.0":
        yield "ISSUER must be the AUTHORITY followed by /v2.0: this API takes version 2 tokens."


def _problems_of_file(in_file: Mapping[str, str], mode: str) -> Iterator[str]:
    for key in in_file:
        if key not in CHECKS:
            yield f"{key} is not a setting of this app. Is it misspelled?"
    secret = in_file.get("CLIENT_SECRET")
    if mode == "production" and secret and not PLACEHOLDER.search(secret):
        yield "CLIENT_SECRET is in a file tracked by Git. Put a new one in the environment."


def _matches(pattern: str, reason: str) -> Callable[[str], str | None]:
    """Return a check that returns ``None``, or the rest of a sentence that begins with the key."""
    return lambda value: None if re.fullmatch(pattern, value, re.ASCII) else reason


def _file(value: str) -> str | None:
    return None if Path(value).is_file() else f"names a file that does not exist: {value}"


_https_address = _matches(rf"{HTTPS}(?:/\S*)?", "must be an https:// address.")

CHECKS: dict[str, Callable[[str], str | None]] = {
    "CLIENT_ID": _matches(GUID, "must be a GUID in lower case, as the portal shows it."),
    "CLIENT_SECRET": lambda value: None,
    "CLIENT_CERTIFICATE": _file,
    "CLIENT_ASSERTION_FILE": _file,
    "MANAGED_IDENTITY_CLIENT_ID": _matches(GUID, "must be the identity's client ID, a GUID."),
    "AUTHORITY": _matches(
        f"{HTTPS}/{GUID}",
        "must be https://<sign-in host>/<tenant ID>, the tenant ID being a GUID (not a domain "
        "name, common, organizations or consumers), with nothing after it.",
    ),
    "ISSUER": _https_address,
    "SCOPE": _matches(rf"{HTTPS}/\S+", "must be a scope: https://<API>/<name of the scope>."),
    "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": _https_address,
    "REQUIRED_SCOPE": _matches(r"\S+", "must be one word."),
    "ALLOWED_CLIENT_IDS": _matches(rf"{GUID}(?:\s+{GUID})*", "must be GUIDs separated by spaces."),
    "CA_BUNDLE": _file,
    "LOG_LEVEL": _matches("|".join(LOG_LEVELS), f"must be one of {', '.join(LOG_LEVELS)}."),
}
DEFAULTS = {"REQUIRED_SCOPE": "access_as_user", "LOG_LEVEL": "INFO"}
OPTIONAL = {*CREDENTIALS, "ALLOWED_CLIENT_IDS", "CA_BUNDLE", *DEFAULTS}
