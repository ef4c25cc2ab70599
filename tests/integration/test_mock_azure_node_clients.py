"""Clients from npm check the mock: Microsoft's for Node, openid-client and jose."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.test_mock_azure_clients import REDIRECT_URI, walk
from tests.mock_azure import MockAzure
from tests.mock_azure.tokens import unverified

SCRIPTS = Path(__file__).parent / "node"
INSTALLED = Path(__file__).parents[1] / "output"
SECONDS = 60


@pytest.fixture(scope="module")
def node() -> list[str]:
    """The command that runs a script, with its packages installed once for each package.json."""
    if not shutil.which("node") or not shutil.which("npm"):
        reason = "Install Node.js 20 or newer (https://nodejs.org) to run clients from npm."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SCRIPTS.iterdir())))
    folder = INSTALLED / f"node-{digest.hexdigest()[:12]}"
    if not folder.exists():
        INSTALLED.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLED) as building:
            fresh = Path(shutil.copytree(SCRIPTS, Path(building, "node")))
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            subprocess.run(["npm", "install", *quiet], cwd=fresh, check=True, timeout=300)
            if not folder.exists():  # another worker may have been quicker
                fresh.rename(folder)
    return ["node", str(folder)]


@pytest.fixture(scope="module")
def azure():
    with MockAzure(require_pkce=True) as azure:
        yield azure


@pytest.fixture
def run(azure, node) -> Callable[..., Any]:
    """Run a script as a web app would; Alice signs in and accepts."""

    def run(script: str, environ: dict[str, str] | None = None) -> Any:
        environ = environ or {}
        settings = {
            "identity": environ.get("MANAGED_IDENTITY_CLIENT_ID"),
            "authority": azure.authority,
            "redirectUri": REDIRECT_URI,
            "ui": {"id": azure.ui.client_id, "secret": azure.ui.secret},
            "api": {"id": azure.api.client_id, "uri": azure.api.uris[0]},
        }
        command, folder = node
        environ |= {"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(azure.ca_file)}
        with subprocess.Popen(
            [command, f"{folder}/{script}", json.dumps(settings)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            too_long = threading.Timer(SECONDS, process.kill)
            too_long.start()
            assert process.stdin
            assert process.stdout
            assert process.stderr
            try:
                for line in process.stdout:
                    said = json.loads(line)
                    if "open" not in said:
                        return said
                    answer = walk(said["open"], ("user", "alice"), ("decision", "accept"))
                    process.stdin.write(f"{REDIRECT_URI}?{urlencode(answer)}\n")
                    process.stdin.flush()
                raise AssertionError(process.stderr.read())
            finally:
                too_long.cancel()
                process.kill()

    return run


def test_msal_node_signs_in_and_exchanges_with_a_managed_identity(azure, run):
    azure.reset()
    told = run("msal_node.mjs", azure.identity_settings(azure.api))
    assert (told["name"], told["fromCache"]) == ("Alice Adams", True)
    assert unverified(told["exchanged"])["appid"] == azure.api.client_id
    assert unverified(told["exchanged"])["oid"] == azure.users["alice"].oid
    assert unverified(told["own"])["idtyp"] == "app"


def test_openid_client_and_jose_accept_every_token(azure, run):
    azure.reset()
    told = run("openid_client.mjs")
    assert told["userinfo"]["email"] == "alice@contoso.example"
    assert told["scope"] == "access_as_user"
