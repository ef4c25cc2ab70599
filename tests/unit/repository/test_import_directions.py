"""Imports go one way: a module may import only those before it in its app's list."""

import re
import sys

import pytest

from tests.imports import ROOT, imports, modules, own

FLASK_API = [
    "helpers.environment",
    "helpers.http_session",
    "helpers.claims_challenges",
    "helpers.errors",
    "helpers.request_scope",
    "helpers.signing_keys",
    "helpers.authorization",
    "helpers.token_cache",
    "helpers.managed_identity",
    "helpers.entra",
    "helpers.token_acquisition",
    "helpers.azure_resource_manager",
    "views.subscriptions_view",
    "blueprints.subscriptions_bp",
    "main",
]


def test_the_list_of_the_api_is_complete():
    assert sorted(modules("FlaskAPI")) == sorted(FLASK_API)


@pytest.mark.parametrize("name", FLASK_API)
def test_the_api_imports_only_what_comes_before(name):
    assert own("FlaskAPI")[name] <= set(FLASK_API[: FLASK_API.index(name)])


def test_only_the_factory_reads_the_environment():
    users = {name for name, used in own("FlaskAPI").items() if "helpers.environment" in used}
    assert users == {"main"}


def test_the_token_cache_knows_neither_msal_nor_flask():
    used = set(imports(modules("FlaskAPI")["helpers.token_cache"]))
    assert used & {"msal", "flask", "requests"} == set()
    assert own("FlaskAPI")["helpers.token_cache"] == set()


@pytest.mark.parametrize("folder", ["FlaskAPI", "DjangoUI"])
def test_only_one_module_of_an_app_looks_at_os_environ(folder):
    look = re.compile(r"os\.environ|getenv")
    readers = {n for n, f in modules(folder).items() if look.search(f.read_text(encoding="utf-8"))}
    assert readers - {"manage", "UI.wsgi"} == {
        {"FlaskAPI": "helpers.environment", "DjangoUI": "Helpers.environment"}[folder]
    }


@pytest.mark.parametrize("folder", ["FlaskAPI", "DjangoUI"])
def test_an_app_imports_neither_the_other_nor_the_tests(folder):
    other = {"FlaskAPI": "DjangoUI", "DjangoUI": "FlaskAPI"}[folder]
    foreign = {name.partition(".")[0] for name in modules(other)} | {"tests", "run"}
    foreign -= {name.partition(".")[0] for name in modules(folder)}
    for name, file in modules(folder).items():
        assert not {used.partition(".")[0] for used in imports(file)} & foreign, name


def test_the_mock_imports_neither_app_and_nothing_beyond_the_apis_requirements():
    installed = {"cryptography", "flask", "werkzeug", "jwt", "requests", "msal", "dotenv"}
    for file in (ROOT / "tests/mock_azure").glob("*.py"):
        for used in imports(file):
            top = used.partition(".")[0]
            relative = top in {f.stem for f in file.parent.glob("*.py")} | {"", "None", "tests"}
            assert relative or top in installed | sys.stdlib_module_names, f"{used} in {file}"


APP_CREATION = [
    "graph",
    "settings_files",
    "registrations",
    "credentials",
    "command_line",
    "configure",
    "cleanup",
]


@pytest.mark.parametrize("name", APP_CREATION)
def test_a_script_imports_what_comes_before_and_what_the_api_has_installed(name):
    assert sorted(modules("AppCreationScripts")) == sorted(APP_CREATION)
    before = set(APP_CREATION[: APP_CREATION.index(name)])
    installed = {"cryptography", "dotenv", "helpers", "msal", "requests"}
    used = {module.partition(".")[0] for module in imports(modules("AppCreationScripts")[name])}
    assert used <= before | installed | sys.stdlib_module_names


def test_the_apps_have_no_empty_module_and_no_vague_module_name():
    for folder in ("FlaskAPI", "DjangoUI"):
        for name, file in modules(folder).items():
            assert file.stat().st_size, name
            assert name.rpartition(".")[2] not in ("utils", "models", "admin", "tests", "common")
