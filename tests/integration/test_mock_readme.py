"""The commands and files in the mock's README, as other projects use them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.apps import ROOT
from tests.mock_azure import MockAzure
from tests.mock_azure.scenarios import SCENARIOS
from tests.mock_azure.tokens import unverified

FOLDER = ROOT / "tests/mock_azure"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^curl .*$", README, re.MULTILINE)


def block(after):
    """The first block of code behind the line that ends in ``after``."""
    _, heading, rest = README.partition(f"{after}:\n\n```")
    assert heading, after
    return rest.partition("\n")[2].partition("```")[0]


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def azure():
    with MockAzure() as azure:
        yield azure


@pytest.fixture
def run(azure):
    """Run one of the README's commands as a shell would, on this mock's port."""

    def run(number):
        words = shlex.split(COMMANDS[number].replace("http://localhost:8400", azure.front_url))
        done = subprocess.run(
            [*words, "--fail", "--silent", "--show-error", "--noproxy", "*"],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def on(answer):
    return [scenario["name"] for scenario in answer["controls"] if scenario["since"]]


def test_the_commands_switch_scenarios_on_and_off(azure, run):
    azure.reset()
    listed, first, off, second, *_ = range(len(COMMANDS))
    assert [scenario["name"] for scenario in run(listed)["controls"]] == list(SCENARIOS)
    assert on(run(first)) == ["second-factor"]
    assert on(run(off)) == []
    assert on(run(second)) == ["entra-throttles-user"]
    assert azure.faults.take("token:on_behalf_of", "bob")


def test_the_commands_get_a_token_read_what_was_recorded_and_reset(azure, run):
    azure.reset()
    *_, token, recorded, reset = range(len(COMMANDS))
    claims = unverified(run(token)["access_token"])
    assert (claims["name"], claims["scp"], "azp" in claims) == ("Alice Adams", "another", False)
    assert run(recorded) == {"recorded": []}
    azure.scenarios.switch_on("second-factor")
    assert on(run(reset)) == []


def test_no_other_command_is_in_the_readme():
    assert len(COMMANDS) == 7


def test_the_table_of_scenarios_is_complete():
    table = README.partition("## Scenarios")[2].partition("## Over HTTP")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(SCENARIOS)


# --- in another project ---------------------------------------------------------------------------


def closure(requirements):
    """The names of all distributions that ``requirements`` installs."""
    names = set()
    todo = [Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        names.add(canonicalize_name(requirement.name))
        for needed in map(Requirement, requires(requirement.name) or []):
            extras = requirement.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                todo.append(needed)
    return names


def test_a_copy_in_an_empty_folder_runs_with_four_requirements(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "mock_azure", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "api.py").write_text(block("`api.py`"))
    (tmp_path / "test_api.py").write_text(block("`test_api.py`"))
    modules = tmp_path / "modules.json"
    (tmp_path / "conftest.py").write_text(
        "import json, sys\n"
        "def pytest_unconfigure():\n"
        f"    open({str(modules)!r}, 'w').write(json.dumps(list(sys.modules)))\n"
    )
    environ = {"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout

    requirements = block("pytest is the fourth").split()
    assert len(requirements) == 4
    of = packages_distributions()
    loaded = {name.partition(".")[0] for name in json.loads(modules.read_text())}
    needed = {canonicalize_name(dist) for name in loaded for dist in of.get(name, [])}
    assert needed - {"setuptools"} <= closure(requirements)  # a hook of its own loads that one


def test_the_api_of_the_example_is_short():
    lines = [line for line in block("`api.py`").splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_main_readme_walks_the_same_scenarios():
    walk = (ROOT / "README.md").read_text(encoding="utf-8").partition("The scenarios are:")[2]
    rows = re.findall(r"\*\*(.+?)\*\*", walk.partition("\n")[0])
    titles = [(switch.__doc__ or "").partition("\n")[0] for switch in SCENARIOS.values()]
    assert rows == titles
