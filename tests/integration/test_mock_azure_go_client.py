"""Microsoft's client for Go checks the mock, where Go is installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.mock_azure import MockAzure
from tests.mock_azure.tokens import unverified

PROGRAM = Path(__file__).parent / "go"
SCOPE = "https://management.azure.com/user_impersonation"


@pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed: https://go.dev/dl")
def test_msal_go_exchanges_on_behalf_of_the_user_and_caches(tmp_path):
    program = tmp_path / "client"
    build = {**os.environ, "CGO_ENABLED": "0"}  # needs no C compiler
    subprocess.run(["go", "build", "-o", program], cwd=PROGRAM, env=build, check=True, timeout=300)
    with MockAzure() as azure:
        azure.consent_all("alice")
        done = subprocess.run(
            [program],
            env={
                "SSL_CERT_FILE": str(azure.ca_file),
                "AUTHORITY": azure.authority,
                "CLIENT_ID": azure.api.client_id,
                "CLIENT_SECRET": azure.api.secret,
                "USER_ASSERTION": azure.access_token("alice"),
                "SCOPE": SCOPE,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        exchanges = azure.requests("token:on_behalf_of")
    assert not done.returncode, done.stderr
    first, second = json.loads(done.stdout)
    assert first == second
    assert len(exchanges) == 1
    assert unverified(first)["oid"] == azure.users["alice"].oid
