"""The recipes of both apps' READMEs, each applied as written to a copy, and run."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from base64 import urlsafe_b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.apps import ONE_WORKER, App, copy_of, free_ports
from tests.imports import imports as imports_of
from tests.integration.test_mock_readme import closure
from tests.mock_azure import directory
from tests.unit.repository.documents import API, ROOT, UI, Document
from tests.visitor import Visitor

CONTRIBUTING = Document("CONTRIBUTING.md")
PROTECT, CALL = "Protect an API of your own", "Call another API from it"
ANOTHER = "Add another endpoint"
GRAPH, BY_HAND = "Call Microsoft Graph instead of Resource Manager", "Get a token by hand"
LINUX = "App Service, Kubernetes and a Linux machine"
DJANGO = "Add the sign-in to an existing Django project"
AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

# Calls the app in the folder with each token; what nobody has mocked is answered by `fakes`.
CALLS = """
import importlib, json, re, sys
import responses

given = json.load(sys.stdin)
module, name = given["app"].split(":")
app = getattr(importlib.import_module(module), name)
client = (app() if name == "create_app" else app).test_client()
with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
    net.add_passthru("https://localhost")
    for pattern, status, headers, body in given["fakes"]:
        def answer(request, status=status, headers=headers, body=body):
            seen = {"url": request.url, "token": request.headers["Authorization"]}
            return status, headers, json.dumps(body | {"seen": seen})
        net.add_callback("GET", re.compile(pattern), answer)
    for path, token in given["requests"]:
        found = client.get(path, headers={"Authorization": f"Bearer {token}"})
        print(json.dumps([found.status_code, found.json]))
"""

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


def call(folder: Path, settings: dict[str, str], app: str, requests: list[Any], fakes=()):
    """Return status and JSON of each answer that ``app`` gives in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **settings},
        input=json.dumps({"app": app, "requests": requests, "fakes": fakes}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def claims_of(authorization: str) -> dict[str, Any]:
    payload = authorization.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def apply(document: Document, title: str, file: Path, numbers: list[int]) -> int:
    """Change ``file`` as these diffs of the recipe say; return how many lines they add."""
    added = 0
    for number in numbers:
        lines = document.fences("diff", title)[number].splitlines()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        text = file.read_text()
        assert text.count(before) == 1, before
        file.write_text(text.replace(before + "\n" * (not after), after, 1))
        added += sum(line.startswith("+") and bool(line[1:].strip()) for line in lines)
    return added


def test_the_files_named_protect_an_api_alone(azure, tmp_path):
    files = copy_named(API.section(PROTECT), tmp_path)
    (source,), (exports,) = API.fences("python", PROTECT), API.fences("bash", PROTECT)
    (tmp_path / "app.py").write_text(source)
    settings = exported(exports, azure, tmp_path)
    good, bad = azure.access_token("alice"), azure.access_token("alice", scp="another")
    requests = [["/hello", good], ["/hello", bad], ["/hello", "junk"]]
    hello, refused, junk = call(tmp_path, settings, "app:app", requests)
    assert hello == [200, {"oid": azure.users["alice"].oid}]
    assert (refused[0], refused[1]["code"]) == (403, "insufficient_scope")
    assert (junk[0], junk[1]["code"]) == (401, "invalid_token")

    needs_only(tmp_path, files, packages(PROTECT))


def test_the_protected_api_calls_another_with_what_the_next_recipe_adds(azure, tmp_path):
    files = [copy_named(API.section(title), tmp_path) for title in (PROTECT, CALL)]
    app = tmp_path / "app.py"
    app.write_text("\n\n".join(API.fences("python", title)[0] for title in (PROTECT, CALL)))
    exports = API.fences("bash", PROTECT)[0], API.fences("bash", CALL)[0]
    settings = exported("".join(reversed(exports)), azure, tmp_path)
    requests = [["/subscriptions", azure.access_token("alice")], ["/subscriptions", "junk"]]
    ((status, body),) = call(tmp_path, settings, "app:app", requests[:1])
    assert (status, body["code"]) == (401, "consent_required")
    azure.consent_all("alice")
    (status, body), (refused, _) = call(tmp_path, settings, "app:app", requests)
    assert (status, len(body["value"])) == (200, len(azure.users["alice"].subscriptions))
    assert refused == 401
    needs_only(tmp_path, files[0] + files[1], packages(PROTECT) + packages(CALL))


def copy_named(text: str, folder: Path) -> list[str]:
    """Copy the helpers that are named before the first code block to ``folder``."""
    files = re.findall(r"`(helpers/\w+\.py)`", text.partition("```")[0])
    (folder / "helpers").mkdir(exist_ok=True)
    for name in files:
        shutil.copy(ROOT / "FlaskAPI" / name, folder / name)
    return files


def exported(script: str, azure, folder: Path) -> dict[str, str]:
    """Return what ``script`` exports before ``flask run``, with the mock's values, and its CA."""
    settings, python = azure.flask_api_settings(), sys.executable
    changes = {
        "11111111-2222-3333-4444-555555555555": azure.tenant_id,
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee": azure.api.client_id,
        "https://login.microsoftonline.com/": azure.authority.removesuffix(azure.tenant_id),
        "your-client-secret": settings["CLIENT_SECRET"],
        "https://management.azure.com/subscriptions": f"{azure.arm_url}/subscriptions",
        "flask run": f"{python} -m flask routes > routes.txt; {python} -c '{PRINT}'",
    }
    for placeholder, value in changes.items():
        script = script.replace(placeholder, value)
    names = re.findall(r"^export (\w+)=", script, re.M)
    printed = json.loads(bash(script, folder))
    assert "/hello" in (folder / "routes.txt").read_text()
    return {name: printed[name] for name in names} | {"CA_BUNDLE": str(azure.ca_file)}


def packages(title: str) -> list[str]:
    """Return the packages that the section's first code block names."""
    return API.section(title).split("```")[1].split()


def needs_only(folder: Path, files: list[str], named: list[str]) -> None:
    """The recipe names exactly what is needed."""
    installed = closure(named)
    names = {"jwt": "pyjwt"}
    used = frozenset().union(*(imports_of(folder / name) for name in ["app.py", *files]))
    imported = set()
    for top in {module.partition(".")[0] for module in used} - {"helpers"}:
        package = canonicalize_name(names.get(top, top))
        imported.add(package)
        assert top in sys.stdlib_module_names or package in installed, top
    for name in files:
        module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        assert module in used or module == "helpers", f"nobody imports {module}"
    assert {re.sub(r"\[.*", "", name) for name in named} <= imported


def test_another_endpoint_lists_resource_groups_in_under_15_lines(azure, tmp_path):
    folder = copy_of("FlaskAPI", tmp_path, "*.env")
    lines = apply(API, ANOTHER, folder / "helpers/azure_resource_manager.py", [0, 1])
    view, imports = API.fences("python", ANOTHER)
    blueprint = folder / "blueprints/subscriptions_bp.py"
    rest = blueprint.read_text().partition("subscriptions_bp = ")
    blueprint.write_text(f"{imports}\n{rest[1]}{rest[2]}\n\n{view}")
    lines += len([line for line in view.splitlines() if line.strip()])
    assert lines < 15

    azure.consent_all("alice")
    token, subscription = azure.access_token("alice"), directory.TENANT_ID
    fakes = [[rf"{azure.arm_url}/subscriptions/.+/resourcegroups", 200, {}, {"value": [{"a": 1}]}]]
    requests = [
        [f"/resource-groups?subscription={subscription}", token],
        ["/resource-groups?subscription=../tenants", token],
        ["/resource-groups", token],
        [f"/resource-groups?subscription={subscription}", azure.access_token("alice", scp="x")],
        ["/subscriptions", token],
    ]
    found = call(folder, azure.flask_api_settings(), "main:create_app", requests, fakes)
    assert [status for status, _ in found] == [200, 400, 400, 403, 200]
    assert found[0][1]["value"] == [{"a": 1}]
    assert found[0][1]["count"] == {"type": "Total", "value": 1}
    assert len(found[4][1]["value"]) == len(azure.users["alice"].subscriptions)


def ask_graph_instead(azure) -> None:
    """Do in the mock's tenant what the recipe's first step does in the portal."""
    api = replace(azure.api, required=((directory.GRAPH_ID, "User.Read"),))
    azure.applications[api.client_id] = api
    azure.consent_all("alice")


def test_graph_answers_in_place_of_resource_manager(azure, tmp_path):
    folder = copy_of("FlaskAPI", tmp_path, "*.env")
    (helper,) = API.fences("python", GRAPH)
    (folder / "helpers/microsoft_graph.py").write_text(helper)
    apply(API, GRAPH, folder / "views/subscriptions_view.py", [0, 1])
    (settings,) = API.fences("ini", GRAPH)
    changed = dict(line.split("=", 1) for line in settings.splitlines())
    ask_graph_instead(azure)
    me = {"displayName": "Alice Adams"}
    fakes = [[re.escape(changed["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"]), 200, {}, me]]
    environ = azure.flask_api_settings() | changed
    requests = [["/subscriptions", azure.access_token("alice")]]
    ((status, body),) = call(folder, environ, "main:create_app", requests, fakes)
    assert (status, body["displayName"]) == (200, "Alice Adams")
    token = claims_of(body["seen"]["token"])
    assert (token["aud"], token["scp"].split()) == ("https://graph.microsoft.com", ["User.Read"])

    challenge = 'Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="'
    fakes[0][1:] = [401, {"WWW-Authenticate": challenge}, {}]
    ((status, body),) = call(folder, environ, "main:create_app", requests, fakes)
    assert (status, body["code"]) == (401, "claims_challenge")


def bash(script: str, folder: Path, token: str = "") -> str:
    """Run ``script`` with an Azure CLI that prints ``token``, and notes how it was called."""
    program = folder / "az"
    program.write_text(f'#!/bin/sh\necho "$@" >> az.log\nprintf %s "{token}"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "NO_PROXY": "localhost"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_token_by_hand_lists_the_subscriptions(azure, tmp_path):
    by_cli, by_mock = API.fences("bash", BY_HAND)
    assert f"`{AZURE_CLI}`" in API.section(BY_HAND)
    azure.consent_all("alice")
    (tmp_path / "development.env").write_text(f"CLIENT_ID={azure.api.client_id}\n")
    both = f"{azure.ui.client_id} {AZURE_CLI}"
    settings = azure.flask_api_settings() | ONE_WORKER | {"ALLOWED_CLIENT_IDS": both}
    api = App("FlaskAPI", "main:create_app()", settings, *free_ports(1))
    try:
        api.start()
        script = by_cli.replace("http://localhost:5000", api.url)
        found = json.loads(bash(script, tmp_path, azure.access_token("alice", azp=AZURE_CLI)))
        script = by_mock.replace("http://localhost:5000", api.url)
        script = script.replace("http://localhost:8400", azure.front_url)
        assert json.loads(bash(script, tmp_path)) == found
    finally:
        api.stop()
        api.log.unlink()
    assert len(found["value"]) == len(azure.users["alice"].subscriptions)
    asked = (tmp_path / "az.log").read_text()
    assert f"--scope api://{azure.api.client_id}/access_as_user " in asked


@pytest.fixture
def project(azure, tmp_path):
    """An existing Django project with the sign-in added as the recipe says, and running."""
    folder, environ = tmp_path, {"PATH": os.environ["PATH"], **azure.django_ui_settings()}
    django = [sys.executable, "-m", "django", "startproject", "existing", "."]
    subprocess.run(django, cwd=folder, check=True)
    listed = UI.section(DJANGO).partition(": ")[2].partition(". ")[0]
    *folders, middleware, target = re.findall(r"`([\w./]+)`", listed)
    for name in folders:
        shutil.copytree(ROOT / "DjangoUI" / name, folder / name)
    shutil.copy(ROOT / "DjangoUI" / middleware, folder / target)
    settings, urls = UI.fences("python", DJANGO)
    with (folder / "existing/settings.py").open("a") as file:
        file.write("\n" + settings)
    (folder / "existing/urls.py").write_text(urls)
    manage = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(manage, cwd=folder, env=environ, check=True)
    (port,) = free_ports(1)
    url = f"http://localhost:{port}"
    environ["REDIRECT_URI"] = f"{url}/account/callback"
    environ["POST_LOGOUT_REDIRECT_URI"] = f"{url}/account/signed-out"
    app = App(str(folder), "existing.wsgi", environ, port)
    app.start()
    yield app
    app.stop()
    app.log.unlink()


def test_an_existing_django_project_signs_users_in_and_out(project, azure):
    visitor = Visitor(project.url).sign_in("alice")
    assert "<p>Hello, Alice Adams!</p>" in visitor.page.text
    assert visitor.page.url == f"{project.url}/"
    assert visitor.open("/account/logout").asks("Sign out?")
    visitor.press()
    assert visitor.page.url == f"{project.url}/account/signed-out"
    assert Visitor(project.url).open().asks("Choose who you are")
    assert visitor.open("/static/ui.css").page.status_code == 200
    assert visitor.open("/account/problem/access_denied").asks("The sign-in was not completed")


def settings_file(app: str, folder: Path) -> Path:
    """The template without its comments, changed as the text asks, with a managed identity."""
    values = {
        "ReplaceWithTenantID": directory.TENANT_ID,
        "ReplaceWithClientID": "11111111-1111-4111-8111-111111111111",
        "ReplaceWithWebAppClientID": "11111111-1111-4111-8111-111111111111",
        "Flask_API_Client_ID": "22222222-2222-4222-8222-222222222222",
        "ReplaceWithSecretKey": "k" * 50,
        "ReplaceWithHostName": "app.example.com",
        "http://localhost:8000": "https://app.example.com",
    }
    template = (ROOT / app / "production.env").read_text()
    text = re.sub(r"^(#.*|CLIENT_SECRET=.*)?\n", "", template, flags=re.M)
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    file = folder / f"{app}.env"
    text += "MANAGED_IDENTITY_CLIENT_ID=33333333-3333-4333-8333-333333333333\n"
    file.write_text(text + "BEHIND_TLS_PROXY=true\n" * (app == "DjangoUI"))
    return file


def unit(text: str, file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return a systemd unit's entries, and the environment that it gives the service."""
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    assignments = file.read_text().splitlines()
    assignments += [one for key, value in lines if key == "Environment" for one in value.split()]
    return dict(lines), dict(one.split("=", 1) for one in assignments)


def test_the_units_and_commands_for_a_linux_machine_start_both_apps(tmp_path):
    api, ui = UI.fences("ini", LINUX)
    path = {"PATH": os.environ["PATH"]}

    api_unit, environ = unit(api, settings_file("FlaskAPI", tmp_path))
    assert api_unit["EnvironmentFile"] == "/etc/on-behalf-of/FlaskAPI.env"
    (app,) = re.findall(r'"main:(.+)"', api_unit["ExecStart"])
    start = [sys.executable, "-c", f"from main import *; {app}"]
    folder = copy_of("FlaskAPI", tmp_path, "*.env")
    shutil.copy(ROOT / "FlaskAPI/production.env", folder)  # is not read
    subprocess.run(start, cwd=folder, env=path | environ, check=True)

    file = settings_file("DjangoUI", tmp_path)
    ui_unit, environ = unit(ui, file)
    environ["DATABASE_PATH"] = environ["DATABASE_PATH"].replace("/var/lib/djangoui", str(tmp_path))
    folder = copy_of("DjangoUI", tmp_path)
    (commands,) = UI.fences("bash", LINUX)
    for there, here in {
        ui_unit["WorkingDirectory"]: str(folder),
        ui_unit["EnvironmentFile"]: str(file),
        "venv/bin/python": sys.executable,
    }.items():
        assert there in commands
        commands = commands.replace(there, here)
    bash(commands, tmp_path)
    assert list((folder / "staticfiles").glob("ui.*.css"))
    migrate = ui_unit["ExecStartPre"].split()[1:]
    subprocess.run([sys.executable, *migrate], cwd=folder, env=path | environ, check=True)
    assert Path(environ["DATABASE_PATH"]).is_file()
    start = [sys.executable, "-c", f"import {ui_unit['ExecStart'].split()[-1]}"]
    subprocess.run(start, cwd=folder, env=path | environ, check=True)


def test_the_worked_example_refuses_guests(azure, tmp_path):
    folder = copy_of("FlaskAPI", tmp_path, "*.env")
    title = "A worked example: add a claim check"
    tests = Path(shutil.copy(ROOT / "tests/unit/flask_api/test_authorization.py", tmp_path))
    apply(CONTRIBUTING, title, tests, [0, 1])
    apply(CONTRIBUTING, title, folder / "helpers/authorization.py", [2])
    apply(CONTRIBUTING, title, folder / "helpers/errors.py", [3])
    page = Path(shutil.copy(ROOT / "DjangoUI/Helpers/errors.py", tmp_path))
    apply(CONTRIBUTING, title, page, [4])
    assert runpy.run_path(str(page))["API_PAGES"]["guest_not_allowed"].status == 403

    azure.consent_all("alice")
    requests = [["/subscriptions", azure.access_token(user)] for user in ("frank", "alice")]
    frank, alice = call(folder, azure.flask_api_settings(), "main:create_app", requests)
    assert (frank[0], frank[1]["code"]) == (403, "guest_not_allowed")
    assert alice[0] == 200
