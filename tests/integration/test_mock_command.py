"""``python -m tests.mock_azure --write-env``: the apps run on the files that it writes."""

import signal
import subprocess
import sys

from tests.apps import ONE_WORKER, ROOT, Apps
from tests.visitor import Visitor
from tests.waiting import wait_for


def test_both_apps_run_on_the_files_that_the_mock_writes(tmp_path):
    command = [sys.executable, "-m", "tests.mock_azure", "--front-port", "0", "--back-port", "0"]
    options = ["--write-env", str(tmp_path), "--users", "2"]
    with subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            api, ui = (tmp_path / app / "development.env" for app in ("FlaskAPI", "DjangoUI"))
            wait_for(lambda: ui.exists() and (tmp_path / "mock-azure-ca.pem").exists())
            assert {file.stat().st_mode & 0o777 for file in (api, ui)} == {0o600}
            settings = (
                {"FLASK_ENV": "development", "ENV_FILE": str(api)},
                {"ENVIRONMENT": "development", "ENV_FILE": str(ui)},
            )
            with Apps(None, *(ONE_WORKER | app for app in settings)) as apps:
                assert Visitor(apps.ui.url).sign_in("user2").names == ["Subscription of 2"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.stdout
            process.stdout.read()
    assert process.returncode == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
