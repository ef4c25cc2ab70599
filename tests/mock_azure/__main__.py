"""``python -m tests.mock_azure``: the mock as a process of its own."""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from .azure import MockAzure
from .directory import Subscription, User
from .server import LOOPBACK

# What the shell may hold for other programs, and either app would take for its own.
NOT_FROM_THE_SHELL = {
    **dict.fromkeys(("ALLOWED_CLIENT_IDS", "CLIENT_CERTIFICATE", "CLIENT_ASSERTION_FILE"), ""),
    "MANAGED_IDENTITY_CLIENT_ID": "",
    **dict.fromkeys(("DJANGO_SECRET_KEY_FALLBACKS", "LOGOUT_URL", "REDIS_URL"), ""),
    "BEHIND_TLS_PROXY": "false",
    "REQUIRED_SCOPE": "access_as_user",
}
WRITTEN_BY_THE_MOCK = "# Written by the mock of Azure, which removes it when it stops."
NOT_IN_A_FILE = ("ENV_FILE", "ENVIRONMENT", "FLASK_ENV")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mock_azure", description=__doc__)
    parser.add_argument("--front-port", type=int, default=8400, help="browser side (http)")
    parser.add_argument("--back-port", type=int, default=8443, help="server side (https)")
    parser.add_argument("--front-host", default="localhost", help="name in the browser's URLs")
    parser.add_argument("--back-host", default="localhost", help="name in the servers' URLs")
    parser.add_argument("--host", help="address to listen on instead of loopback")
    parser.add_argument("--ui-url", default="http://localhost:8000")
    parser.add_argument("--api-url", default="http://localhost:5000")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="write the apps' settings here as JSON"
    )
    parser.add_argument(
        "--write-env",
        type=Path,
        metavar="FOLDER",
        help="write FlaskAPI/development.env and DjangoUI/development.env in this folder",
    )
    parser.add_argument(
        "--cloud", type=Path, metavar="FILE", help="write the addresses for AppCreationScripts here"
    )
    parser.add_argument(
        "--empty", action="store_true", help="begin without the sample's registrations"
    )
    parser.add_argument(
        "--users", type=int, default=0, metavar="N", help="add user1 to userN, for load tests"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    stopping = threading.Event()
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: stopping.set())
    azure = MockAzure(
        options.front_host,
        options.front_port,
        options.back_port,
        back_host=options.back_host,
        listen=(options.host,) if options.host else LOOPBACK,
        ui_url=options.ui_url,
    )
    try:
        azure.__enter__()
    except OSError as error:
        print(
            f"Mock Azure cannot listen on port {options.front_port} or {options.back_port}: "
            f"{error.strerror}. Choose others with --front-port and --back-port.",
            file=sys.stderr,
        )
        return 1
    written: list[Path] = []
    try:
        register_addresses(azure, options.ui_url)
        add_users(azure, options.users)
        if options.empty:
            azure.unregister()
        if options.settings:
            written = write_settings(azure, options.settings, options.ui_url, options.api_url)
        if options.write_env:
            written += write_env(azure, options.write_env, options.ui_url, options.api_url)
        if options.cloud:
            written += write_cloud(azure, options.cloud)
        print("Mock Azure: not Microsoft. Everything here is invented, and so is who signs in.")
        print(f"  browsers  {azure.front_url}")
        print(f"  servers   {azure.back_url}  (CA: {written[-1] if written else azure.ca_file})")
        print("  Ctrl-C stops it.", flush=True)
        while not stopping.wait(0.5):  # a wait without end would not see Ctrl-C on Windows
            pass
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for path in written:
            path.unlink(missing_ok=True)
        azure.close()
    print("Mock Azure has stopped.")
    return 0


def register_addresses(azure: MockAzure, ui_url: str) -> None:
    """Register the addresses to which Entra returns users of the web app at ``ui_url``."""
    uris = (f"{ui_url}/account/callback", f"{ui_url}/account/signed-out")
    azure.applications[azure.ui.client_id] = replace(azure.ui, redirect_uris=uris)


def add_users(azure: MockAzure, number: int) -> None:
    """Add ``number`` users, each with a subscription that no other user has."""
    for n in range(1, number + 1):
        user = User(f"User{n}", "Test", "is one of many", (Subscription(f"Subscription of {n}"),))
        azure.users[user.key] = user


def write_env(azure: MockAzure, folder: Path, ui_url: str, api_url: str) -> list[Path]:
    """Write ``development.env`` of both apps and the CA to ``folder``; return the files written.

    :raises FileExistsError: such a file is there, and no mock wrote it.
    """
    ca_file = folder.resolve() / "mock-azure-ca.pem"
    texts = {}
    for app, settings in {
        "FlaskAPI": azure.flask_api_settings(),
        "DjangoUI": azure.django_ui_settings(ui_url, api_url),
    }.items():
        file = folder.resolve() / app / "development.env"
        if file.exists() and not file.read_text().startswith(WRITTEN_BY_THE_MOCK):
            raise FileExistsError(f"{file} already exists. Move it away, or use another folder.")
        settings["CA_BUNDLE"] = str(ca_file)
        lines = [f"{key}={settings[key]}" for key in settings if key not in NOT_IN_A_FILE]
        texts[file] = "\n".join([WRITTEN_BY_THE_MOCK, *lines, ""])
    texts[ca_file] = azure.ca_file.read_text()
    for file, text in texts.items():
        file.parent.mkdir(exist_ok=True)
        _write(file, text)
    return list(texts)


def write_cloud(azure: MockAzure, file: Path) -> list[Path]:
    """Write what ``configure.py --cloud`` reads and the CA beside it; return the files written."""
    ca_file = file.resolve().with_suffix(".pem")
    _write(ca_file, azure.ca_file.read_text())
    _write(file, json.dumps(azure.cloud() | {"ca_bundle": str(ca_file)}, indent=2))
    return [file, ca_file]


def write_settings(azure: MockAzure, file: Path, ui_url: str, api_url: str) -> list[Path]:
    """Write both apps' settings to ``file`` and the CA beside it; return the files written."""
    ca_file = file.resolve().with_name("mock-azure-ca.pem")
    settings = {
        "FlaskAPI": NOT_FROM_THE_SHELL | azure.flask_api_settings(),
        "DjangoUI": NOT_FROM_THE_SHELL | azure.django_ui_settings(ui_url, api_url),
    }
    for app in settings.values():
        app["CA_BUNDLE"] = str(ca_file)
    _write(ca_file, azure.ca_file.read_text())
    _write(file, json.dumps(settings, indent=2))
    return [file, ca_file]


def _write(file: Path, text: str) -> None:
    """Let ``file`` appear all at once, readable by its owner only: it may hold secrets."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")  # mode 0600
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    os.replace(name, file)


if __name__ == "__main__":
    sys.exit(main())
