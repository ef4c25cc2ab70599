"""``sample.json``, the README's manual steps, the templates and the document say the same."""

import inspect
import re
import shlex
import uuid
from pathlib import Path
from string import Template

import pytest
from dotenv import dotenv_values

import cleanup
import command_line
import configure
import credentials
import registrations
import settings_files
from graph import SAMPLE
from tests.mock_azure import directory
from tests.unit.repository.documents import API as FLASK_API
from tests.unit.repository.documents import README, ROOT, Document

API, UI = (registration.description for registration in registrations.load())
DOCUMENT = Document("AppCreationScripts/AppCreationScripts.md")
SCRIPTS = DOCUMENT.text
MANUAL = {
    "FlaskAPI": README.section("Register the API"),
    "DjangoUI": README.section("Register the web app"),
}
BOTH = pytest.mark.parametrize("described", [API, UI], ids=["api", "ui"])


def template(described) -> dict[str, str | None]:
    return dotenv_values(ROOT / described["folder"] / "production.env", interpolate=False)


@BOTH
def test_the_manual_steps_give_the_same_name_audience_and_token_version(described):
    text, application = MANUAL[described["folder"]], described["application"]
    assert f"**Name**: `{application['displayName']}`" in text
    assert "**Accounts in this organizational directory only**" in text
    assert application["signInAudience"] == "AzureADMyOrg"
    assert '"requestedAccessTokenVersion": 2' in text
    assert application["api"]["requestedAccessTokenVersion"] == 2


def test_the_manual_steps_give_the_scope_the_same_texts():
    (scope,) = API["application"]["api"]["oauth2PermissionScopes"]
    titles = {
        "Scope name": "value",
        "Admin consent display name": "adminConsentDisplayName",
        "Admin consent description": "adminConsentDescription",
        "User consent display name": "userConsentDisplayName",
        "User consent description": "userConsentDescription",
    }
    written = dict(re.findall(r"\*\*([\w ]+)\*\*: `([^`]+)`", MANUAL["FlaskAPI"]))
    assert {title: written[title] for title in titles} == {
        title: scope[name] for title, name in titles.items()
    }
    assert "**Who can consent?**: **Admins and users**" in MANUAL["FlaskAPI"]
    assert (scope["type"], scope["isEnabled"]) == ("User", True)


def test_the_manual_steps_list_the_same_redirect_uris():
    uris = re.findall(r"`(http://[^`]+)`", MANUAL["DjangoUI"])
    assert UI["application"]["web"]["redirectUris"] == uris
    settings = template(UI)
    assert uris == [settings["REDIRECT_URI"], settings["POST_LOGOUT_REDIRECT_URI"]]


def test_the_manual_steps_add_the_same_permissions_and_known_client():
    applications = directory.applications()
    for described in (API, UI):
        for required in described["application"]["requiredResourceAccess"]:
            for access in required["resourceAccess"]:
                resource = applications.get(required["resourceAppId"])
                permissions = resource.permissions if resource else {}
                names = {permission.id: name for name, permission in permissions.items()}
                name = names.get(access["id"], access["id"].strip("{}"))
                assert f"**{name}**" in MANUAL[described["folder"]]
    assert API["application"]["api"]["knownClientApplications"] == ["{ui}"]
    assert "knownClientApplications" in README.section("Let one consent cover both apps")
    assert "`api://{clientId}`" in MANUAL["FlaskAPI"]
    assert API["application"]["identifierUris"] == ["api://{api}"]


@BOTH
def test_the_manual_steps_lock_the_service_principal(described):
    assert "**App instance property lock**" in MANUAL[described["folder"]]
    lock = described["application"]["servicePrincipalLockConfiguration"]
    assert lock == {"isEnabled": True, "allProperties": True}
    assert "**All properties**" in MANUAL["FlaskAPI"]


def test_the_manual_steps_add_the_same_optional_claims():
    assert "optionalClaims" not in API["application"]
    assert "**Token configuration**" not in MANUAL["FlaskAPI"]
    step = re.search(r"\*\*Token configuration\*\*.+?\*\*Add\*\*\.", MANUAL["DjangoUI"], re.S)[0]
    claims = UI["application"]["optionalClaims"]
    assert claims == {
        "idToken": [{"name": name} for name in re.findall(r"\*\*(\w+_\w+)\*\*", step)]
    }
    assert "**Add optional claim** > **ID**" in step


def test_the_manual_steps_let_the_web_app_alone_call_the_api():
    row = re.search(r"^\| `ALLOWED_CLIENT_IDS` \| (.+) \|$", MANUAL["FlaskAPI"], re.M)[1]
    assert row.startswith("The **web app's** application (client) ID")
    assert API["settings"]["ALLOWED_CLIENT_IDS"] == "{ui}"


def test_the_certificate_by_hand_is_like_that_of_the_script():
    text = DOCUMENT.section("Certificates by hand")
    assert len(re.findall(r"^\d\. ", text, re.M)) == 5
    assert "-newkey rsa:2048" in text
    assert f"-days {configure.parse(['--certificate']).certificate} " in text
    assert f"`{settings_files.certificate_file('').name}`" in text
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert settings_files.certificate_file("").name in ignored


@BOTH
def test_the_settings_are_those_that_the_manual_steps_fill_in(described):
    text = MANUAL[described["folder"]]
    by_hand = set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.M))
    known = template(described)
    by_cloud = {key for key, value in described["settings"].items() if "{arm}" in value}
    assert described["settings"].keys() == by_hand | by_cloud
    assert described["settings"].keys() <= known.keys()


@BOTH
def test_the_templates_are_what_the_script_writes_for_azure(described):
    """The placeholders are exactly where the script writes its own values."""
    places = {
        "api": "ReplaceWithClientID" if described is API else "Flask_API_Client_ID",
        "ui": "ReplaceWithWebAppClientID" if described is API else "ReplaceWithClientID",
        "secret": "ReplaceWithClientSecret",
        "django_secret_key": "ReplaceWithSecretKey",
        "tenant": "ReplaceWithTenantID",
    }
    names = {**places, **SAMPLE["clouds"]["AzureCloud"]}
    assert (
        registrations.filled_in(described["settings"], names).items() <= template(described).items()
    )


def test_the_clouds_are_those_of_the_readme():
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", FLASK_API.section("National clouds"), re.M))
    cells = {
        name: [
            cell.strip("`") for cell in next(v for k, v in rows.items() if title in k).split(" | ")
        ]
        for name, title in {"portal": "Portal", "login": "AUTHORITY", "scope": "SCOPE"}.items()
    }
    for number, cloud in enumerate(SAMPLE["clouds"].values()):
        assert cells["portal"][number] == cloud["portal"]
        assert cells["login"][number] == f"{cloud['login']}/<tenant ID>"
        assert cells["scope"][number] == f"{cloud['arm']}/user_impersonation"


def test_the_clouds_are_those_of_the_document():
    rows = re.findall(r"^\| `(Azure\w+)` \| `(.+)` \| `(.+)` \|$", SCRIPTS, re.M)
    assert rows == [(name, c["login"], c["graph"]) for name, c in SAMPLE["clouds"].items()]


def test_the_mock_begins_with_what_the_script_would_make():
    ui, api, *_ = directory.applications().values()
    (scope,) = API["application"]["api"]["oauth2PermissionScopes"]
    assert (api.name, ui.name) == (
        API["application"]["displayName"],
        UI["application"]["displayName"],
    )
    assert api.permissions[scope["value"]].title == scope["userConsentDisplayName"]
    assert api.permissions[scope["value"]].description == scope["userConsentDescription"]
    assert list(ui.redirect_uris) == UI["application"]["web"]["redirectUris"]


# --- the document and the commands ----------------------------------------------------------------


def commands() -> list[str]:
    """Every line of both documents that runs one of the scripts."""
    texts = README.fences("shell") + DOCUMENT.fences("shell")
    return [
        line.strip()
        for text in texts
        for line in text.splitlines()
        if "AppCreationScripts/" in line
    ]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_understood(command):
    python, script, *options = shlex.split(command)
    assert python == "FlaskAPI/venv/bin/python"
    parse = {"configure": configure.parse, "cleanup": cleanup.parse}[Path(script).stem]
    assert parse(options).cloud in (*SAMPLE["clouds"], "mock-cloud.json")
    assert (ROOT / script).is_file()


def test_the_deployment_registers_the_addresses_and_identities_that_it_creates():
    text = README.section("Azure Container Apps").replace("\\\n", "")
    (command,) = (line for line in text.splitlines() if "configure.py" in line)
    values = {"UI": "https://djangoui.example", "TENANT": "x"}
    values |= {f"{key}_PRINCIPAL": str(uuid.UUID(int=n)) for n, key in enumerate(("API", "UI"))}
    for name in values:
        assert f"{name}=" in text.partition(command)[0]
    options = configure.parse(shlex.split(Template(command).substitute(values))[2:])
    assert options.redirect_uri == ["https://djangoui.example/account/callback"]
    assert "REDIRECT_URI=$UI/account/callback" in text
    assert "POST_LOGOUT_REDIRECT_URI=$UI/account/signed-out" in text
    assert options.trust_identity == [
        ("api", values["API_PRINCIPAL"]),
        ("ui", values["UI_PRINCIPAL"]),
    ]


def test_every_option_is_in_the_document():
    documented = set(re.findall(r"`(--[\w-]+)", SCRIPTS))
    for module in (configure, cleanup, command_line):
        source = inspect.getsource(module)
        assert set(re.findall(r'"(--[a-z][\w-]+)"', source)) <= documented, module.__name__
    table = SCRIPTS.split("## Options")[1].split("## ")[0]
    rows = re.findall(r"^\| `(--[\w-]+)`", table, re.M)
    common = [f"--{name.replace('_', '-')}" for name in vars(cleanup.parse([]))]
    assert sorted(rows[: len(common)]) == sorted(common)
    assert "takes the first six" in table
    assert len(common) == 6
    options = set(vars(configure.parse([])))
    assert {
        o[2:].replace("-", "_") for o in re.findall(r"^\| `(--[\w-]+)`", table, re.M)
    } == options


def test_the_document_names_what_is_made():
    for described in (API, UI):
        assert f"Registration `{described['application']['displayName']}`" in SCRIPTS
        assert f"`{described['folder']}/development.env`" in SCRIPTS
        assert described["application"]["tags"][0].startswith("python-on-behalf-of-sample/")
    for permission in (command_line.PERMISSION, command_line.CONSENT_PERMISSION):
        assert f"`{permission}`" in SCRIPTS
    assert f"valid for {configure.parse([]).secret_days} days" in SCRIPTS
    assert f"valid for {configure.parse(['--certificate']).certificate} days" in SCRIPTS
    assert f"`{credentials.SECRET_NAME}`" in MANUAL["FlaskAPI"]


def test_the_document_quotes_what_the_scripts_say():
    said = "".join(file.read_text("utf-8") for file in (ROOT / "AppCreationScripts").glob("*.py"))
    quoted = re.findall(
        r"^\| `([A-Z][a-z]+ .+?)` \| ", SCRIPTS.split("## Troubleshooting")[1], re.M
    )
    assert len(quoted) == 4
    for text in quoted:
        assert text in said
