"""``python -m tests.mock_azure``: run the mock as a separate process."""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from .azure import MockAzure
from .directory import Subscription, User
from .server import LOOPBACK

# The shell may contain these settings for other programs. These values override them.
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
    add = parser.add_argument
    add("--front-port", type=int, default=8400, help="browser side (http)")
    add("--back-port", type=int, default=8443, help="server side (https)")
    add("--front-host", default="localhost", help="host name in the browser's URLs")
    add("--back-host", default="localhost", help="host name in the servers' URLs")
    add("--host", help="address to listen on, instead of loopback")
    whose = "clients that may use the buttons and /controls, instead of those on this machine"
    add("--controls-from", type=ip_network, metavar="NETWORK", help=whose)
    add("--ui-url", default="http://localhost:8000")
    add("--api-url", default="http://localhost:5000")
    add("--settings", type=Path, metavar="FILE", help="write the apps' settings here as JSON")
    both = "write FlaskAPI/development.env and DjangoUI/development.env in this folder"
    add("--write-env", type=Path, metavar="FOLDER", help=both)
    scripts = "write the addresses for AppCreationScripts here"
    add("--cloud", type=Path, metavar="FILE", help=scripts)
    add("--empty", action="store_true", help="start without the sample's registrations")
    add("--users", type=int, default=0, metavar="N", help="add user1 to userN, for load tests")
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
        controls_from=options.controls_from,
    )
    try:
        azure.__enter__()
    except OSError as error:
        print(
            f"Mock Azure cannot listen on port {options.front_port} or {options.back_port}: "
            f"{error.strerror}. Choose other ports with --front-port and --back-port.",
            file=sys.stderr,
        )
        return 1
    written: list[Path] = []
    try:
        register_addresses(azure, options.ui_url)
        add_users(azure, options.users)
        if options.empty:
            azure.unregister()
        for file, text in files(azure, options).items():
            _write(file, text)
            written.append(file)
        print("Mock Azure: not Microsoft. All users and data are made up.")
        print(f"  browsers  {azure.front_url}")
        print(f"  servers   {azure.back_url}  (CA: {next(iter(written), azure.ca_file)})")
        print("  Ctrl-C stops it.", flush=True)
        while not stopping.wait(0.5):  # Ctrl-C would not interrupt an endless wait on Windows
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
    """Register the redirect URIs of the web app at ``ui_url``."""
    uris = (f"{ui_url}/account/callback", f"{ui_url}/account/signed-out")
    azure.applications[azure.ui.client_id] = replace(azure.ui, redirect_uris=uris)


def add_users(azure: MockAzure, number: int) -> None:
    """Add ``number`` users, each with a subscription that no other user has."""
    for n in range(1, number + 1):
        user = User(f"User{n}", "Test", "is one of many", (Subscription(f"Subscription of {n}"),))
        azure.users[user.key] = user


def files(azure: MockAzure, options: argparse.Namespace) -> dict[Path, str]:
    """Return the files to write, with their contents; each names a CA file in the same folder.

    :raises FileExistsError: if a settings file exists that no mock has written.
    """
    texts: dict[Path, str] = {}

    def ca_next_to(file: Path) -> str:
        texts[file] = azure.ca_file.read_text()
        return str(file)

    apps = {
        "FlaskAPI": azure.flask_api_settings(),
        "DjangoUI": azure.django_ui_settings(options.ui_url, options.api_url),
    }
    if options.write_env:
        folder = options.write_env.resolve()
        ca_bundle = {"CA_BUNDLE": ca_next_to(folder / "mock-azure-ca.pem")}
        for app, settings in apps.items():
            file = folder / app / "development.env"
            if file.exists() and not file.read_text().startswith(WRITTEN_BY_THE_MOCK):
                raise FileExistsError(f"{file} already exists. Move it, or use another folder.")
            own = {key: value for key, value in settings.items() if key not in NOT_IN_A_FILE}
            lines = [f"{key}={value}" for key, value in (own | ca_bundle).items()]
            texts[file] = "\n".join([WRITTEN_BY_THE_MOCK, *lines, ""])
    if options.cloud:
        file = options.cloud.resolve()
        ca_bundle = {"ca_bundle": ca_next_to(file.with_suffix(".pem"))}
        texts[file] = json.dumps(azure.cloud() | ca_bundle, indent=2)
    if options.settings:
        file = options.settings.resolve()
        ca_bundle = {"CA_BUNDLE": ca_next_to(file.with_name("mock-azure-ca.pem"))}
        all_of = {app: NOT_FROM_THE_SHELL | own | ca_bundle for app, own in apps.items()}
        texts[file] = json.dumps(all_of, indent=2)
    return texts


def _write(file: Path, text: str) -> None:
    """Write ``file`` atomically, readable by its owner only, because it may contain secrets."""
    file.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")  # mode 0600
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    os.replace(name, file)


if __name__ == "__main__":
    sys.exit(main())
