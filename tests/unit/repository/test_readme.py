"""The README can't lie: links, settings, tables, numbers, commands, and the registration.

Each table is read here and compared with the data that it is about, never with a copy of itself.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from dotenv import dotenv_values

import Helpers.environment
import helpers.environment
import run
from Account import unfinished_sign_ins
from AzureManagement import subscriptions
from helpers import authorization
from Helpers.errors import PAGES
from helpers.errors import ERROR_RESPONSES
from tests.mock_azure import MockAzure, directory, tokens
from tests.mock_azure.errors import AADSTS
from tests.mock_azure.policies import SignIn

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLE = json.loads((ROOT / "AppCreationScripts/sample.json").read_text(encoding="utf-8"))
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DURATION = rf"(?:half )?\b(?:an?|{'|'.join(NUMBERS)}|\d+) (?:day|hour|minute|second)s?\b(?! factor)"
SECTIONS = [
    "Overview",
    "Scenario",
    "Contents",
    "Prerequisites",
    "Setup",
    "Registration",
    "Running the sample",
    "Explore the sample",
    "About the code",
    "National clouds",
    "Deployment",
    "Troubleshooting",
    "More information",
    "Community help and support",
    "Contributing",
]


def tracked() -> list[str]:
    """The repository's files, with those that git does not know yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


DOCUMENTS = [ROOT / name for name in tracked() if name.endswith(".md")]


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(title: str) -> str:
    """The text below one heading, up to the next of the same level."""
    level = re.search(rf"^(#+) {re.escape(title)}$", README, re.M)
    assert level, title
    rest = README[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def table(title: str) -> list[list[str]]:
    """The cells of the only table below one heading, without its head."""
    rows = [line.strip("| ").split(" | ") for line in section(title).splitlines() if "|" in line]
    head, rule, *body = [row for row in rows if row != [""]]
    assert set("".join(rule)) <= set("|- "), f"{title} has another table than expected"
    assert body
    assert {len(row) for row in body} <= {len(head), len(head) + 1}, title
    return body


def spoken_number(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def spoken(seconds: float) -> str:
    """A duration as the text says it: ``ten minutes``, ``an hour``."""
    if seconds == 30:
        return "half a minute"
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, size = next((unit, size) for unit, size in units if seconds % size == 0)
    if seconds == size:
        return f"an {unit}" if unit == "hour" else f"a {unit}"
    return f"{spoken_number(int(seconds // size))} {unit}s"


def fences(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = document if not path else (document.parent / path).resolve()
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_sections_stand_in_order_and_in_the_table_of_contents():
    assert re.findall(r"^## (.+)$", README, re.M) == SECTIONS
    assert re.findall(r"^- \[(.+)\]\(#", README, re.M) == SECTIONS


def test_contents_names_what_is_there():
    named = set(re.findall(r"^\| `([^`]+)` \|", section("Contents"), re.M))
    there = {name.partition("/")[0] + ("/" if "/" in name else "") for name in tracked()}
    there = {name for name in there if not name.startswith(".")}
    assert named == there - {"README.md", "pyproject.toml"}


def test_the_top_level_holds_nothing_unexpected():
    allowed = {
        "DjangoUI", "FlaskAPI", "AppCreationScripts", "tests", "README.md", "CHANGELOG.md",
        "CONTRIBUTING.md", "LICENSE", "docker-compose.yml", "run.py", "pyproject.toml",
    }  # fmt: skip
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_files_that_the_text_names_exist():
    for name in set(re.findall(r"`((?:FlaskAPI|DjangoUI|tests)/[\w./]+)`", README)):
        generated = name.endswith(("development.env", "/venv"))
        assert generated or (ROOT / name).exists(), name


SETTINGS = {
    "FlaskAPI": {helpers.environment.MODE, *helpers.environment.CHECKS},
    "DjangoUI": {Helpers.environment.MODE, *Helpers.environment.CHECKS},
}


def test_every_setting_is_documented():
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", README))
    templates = {k for app in SETTINGS for k in dotenv_values(ROOT / app / "production.env")}
    for app, keys in SETTINGS.items():
        assert keys <= documented | templates | {"FLASK_ENV", "ENVIRONMENT"}, app


def test_every_setting_that_is_named_exists():
    others = {"HTTPS_PROXY", "NO_PROXY", "ENV_FILE", "FLASK_APP", "FLASK_ENV", "ENVIRONMENT"}
    others |= {"AZURE_FEDERATED_TOKEN_FILE"}
    shouted = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)`", README))
    assert shouted <= SETTINGS["FlaskAPI"] | SETTINGS["DjangoUI"] | others


def test_optional_settings_table_is_complete_and_names_each_settings_app():
    templates = {app: dotenv_values(ROOT / app / "production.env").keys() for app in SETTINGS}
    listed = {(row[0].strip("`"), row[1]) for row in table("Optional settings")}
    optional = {
        "FlaskAPI": helpers.environment.OPTIONAL - templates["FlaskAPI"],
        "DjangoUI": Helpers.environment.OPTIONAL - templates["DjangoUI"],
    }
    both = optional["FlaskAPI"] & optional["DjangoUI"]
    expected = {(key, "both") for key in both}
    expected |= {(key, app) for app, keys in optional.items() for key in keys - both}
    assert listed == expected


def test_optional_settings_table_states_each_default_and_no_other():
    defaults = Helpers.environment.DEFAULTS | helpers.environment.DEFAULTS
    defaults |= {"DATABASE_PATH": Path(Helpers.environment.DEFAULTS["DATABASE_PATH"]).name}
    stated = {}
    for key, _, meaning in table("Optional settings"):
        if found := re.search(r"`([^`]+)` \(?if absent", meaning):
            stated[key.strip("`")] = found[1]
    assert stated == defaults
    both = helpers.environment.DEFAULTS.keys() & Helpers.environment.DEFAULTS.keys()
    for key in both:
        assert helpers.environment.DEFAULTS[key] == Helpers.environment.DEFAULTS[key]


def test_optional_settings_table_lists_every_log_level():
    (meaning,) = [row[2] for row in table("Optional settings") if row[0] == "`LOG_LEVEL`"]
    listed = tuple(re.findall(r"`([A-Z]+)`", meaning))
    assert listed == helpers.environment.LOG_LEVELS == Helpers.environment.LOG_LEVELS


@pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
def test_the_template_holds_what_the_app_reads_and_the_readme_fills_in(app):
    template = dotenv_values(ROOT / app / "production.env")
    assert template.keys() <= SETTINGS[app]
    holes = {key for key, value in template.items() if re.search("Replace|Flask_API", value or "")}
    title = {"FlaskAPI": "Register the API", "DjangoUI": "Register the web app"}[app]
    filled = set(re.findall(r"^\| `([A-Z_]+)` \|", section(title), re.M))
    assert filled == holes - {"PRODUCTION_HOST"}


def test_the_manual_steps_register_what_the_apps_ask_for():
    api, ui = section("Register the API"), section("Register the web app")
    settings = dotenv_values(ROOT / "DjangoUI/production.env")
    for uri in ("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI"):
        assert f"`{settings[uri]}`" in ui
    scope = str(settings["API_SCOPE"]).rpartition("/")[2]
    assert f"**Scope name**: `{scope}`" in api
    assert f"**{scope}**" in ui
    assert helpers.environment.DEFAULTS["REQUIRED_SCOPE"] == scope
    assert str(settings["SCOPE"]).endswith("/.default")
    permission = str(dotenv_values(ROOT / "FlaskAPI/production.env")["SCOPE"]).rpartition("/")[2]
    assert f"**{permission}**" in api
    for text in (api, ui):
        assert '"requestedAccessTokenVersion": 2' in text


def test_national_clouds_are_those_the_script_knows():
    tenant = "11111111-2222-4333-8444-555555555555"
    rows = [
        [cell.strip("`").replace("<tenant ID>", tenant) for cell in row[1:]]
        for row in table("National clouds")
    ]
    titles = [row[0] for row in table("National clouds")]
    columns = [dict(zip(titles, column, strict=True)) for column in zip(*rows, strict=True)]
    clouds = list(SAMPLE["clouds"].values())
    assert len(columns) == len(clouds) == 3
    for told, cloud in zip(columns, clouds, strict=True):
        assert told["Portal"] == cloud["portal"]
        authority = told["`AUTHORITY` in both apps"]
        assert authority == f"{cloud['login']}/{tenant}"
        assert told["`ISSUER`"] == "the authority and `/v2.0"
        assert told["`SCOPE` of FlaskAPI"] == f"{cloud['arm']}/user_impersonation"
        uri = told["`AZURE_MANAGEMENT_SUBSCRIPTIONS_URI`"]
        assert uri == f"{cloud['arm']}/subscriptions?api-version=2020-01-01"
        helpers.environment.load_settings(  # refuses what the API could not start with
            {
                "FLASK_ENV": "production",
                "ENV_FILE": "",
                "CLIENT_ID": tenant,
                "CLIENT_SECRET": "x",
                "AUTHORITY": authority,
                "ISSUER": f"{authority}/v2.0",
                "SCOPE": told["`SCOPE` of FlaskAPI"],
                "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": uri,
            }
        )


def test_manual_steps_register_what_the_script_registers():
    registrations = SAMPLE["registrations"]
    for name, title in (("api", "Register the API"), ("ui", "Register the web app")):
        text, application = section(title), registrations[name]["application"]
        assert f"**Name**: `{application['displayName']}`" in text
        for uri in application.get("web", {}).get("redirectUris", []):
            assert f"`{uri}`" in text
        for scope in application["api"].get("oauth2PermissionScopes", []):
            told = dict(re.findall(r"^   - \*\*([^*]+)\*\*: `([^`]+)`$", text, re.M))
            assert told["Scope name"] == scope["value"]
            for words, key in (
                ("Admin consent display name", "adminConsentDisplayName"),
                ("Admin consent description", "adminConsentDescription"),
                ("User consent display name", "userConsentDisplayName"),
                ("User consent description", "userConsentDescription"),
            ):
                assert told[words] == scope[key]


def test_users_table_says_who_they_are_and_what_they_have():
    rows = table("Explore the sample")
    users = directory.users()
    assert {row[0].lower() for row in rows} == users.keys()
    for name, to_see in rows:
        user = users[name.lower()]
        numbers = {word for word in re.findall(r"\w+", to_see) if word in NUMBERS or word.isdigit()}
        many = len(user.subscriptions)
        assert numbers <= {spoken_number(many), str(many)}, to_see
        assert ("empty list" in to_see) == (many == 0)
        assert ("many pages" in to_see) == (many > 25)
        assert ("second factor" in to_see) == user.needs_mfa
        assert ("may not consent" in to_see) == (not user.may_consent)
        assert ("guest" in to_see) == user.is_guest
        if not (user.needs_mfa or user.is_guest or not user.may_consent or many == 0):
            assert numbers, f"{name}: how many subscriptions?"


def test_every_duration_is_the_codes():
    """Each paragraph, list item or row with a duration is known by words that it holds."""
    hour = MockAzure().token_lifetime_seconds[0]
    durations = {
        "first start": {30},  # measured, not set anywhere
        "`DjangoUI/Account/unfinished_sign_ins.py`": {unfinished_sign_ins.KEEP_SECONDS},
        "`DjangoUI/Helpers/session.py`": {settings.SESSION_COOKIE_AGE},
        "has just signed in": {unfinished_sign_ins.JUST_SECONDS},
        "`sign_in_expired`": {unfinished_sign_ins.KEEP_SECONDS},
        "Tokens live two minutes": {120},  # tests/mock_azure/scenarios.py
        "The API finds your sign-in too old": {hour, authorization.CLOCK_SKEW_SECONDS},
        "finishes its running requests": {30},  # stop_grace_period in docker-compose.yml
        "Remove the old key": {settings.SESSION_COOKIE_AGE},
        "exchanges a token once": {hour},
    }
    for block in re.split(r"\n\n|\n(?=[-|] |\d+\. )", README):
        found = set(re.findall(DURATION, " ".join(block.split())))
        if found:
            anchors = [words for words in durations if words in " ".join(block.split())]
            expected = {spoken(seconds) for words in anchors for seconds in durations[words]}
            assert found == expected, block
    assert spoken(unfinished_sign_ins.KEEP_SECONDS) in PAGES["sign_in_expired"].text
    for words in durations:
        assert words in " ".join(README.split()), words


def test_secret_key_is_as_long_as_the_app_demands():
    demanded = re.findall(r"at least (\d+) characters", section("Register the web app"))
    assert demanded == [str(Helpers.environment.SECRET_KEY_LENGTH)]


def test_ports_and_python_versions_are_those_of_the_launcher():
    command = [sys.executable, "run.py", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ports = dict(re.findall(r"of (\w+) \((\d+)\)", told))
    for app in ("DjangoUI", "FlaskAPI"):
        assert f"{app}<br/>localhost:{ports[app]}" in README
    front = re.search(r"of Azure's pages \((\d+)\)", told)
    assert front
    assert set(re.findall(r"http://localhost:(\d+)", README)) == {ports["DjangoUI"], front[1]}
    oldest = ".".join(map(str, run.OLDEST_PYTHON))
    assert f"Python {oldest} or newer" in README
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    tested = sorted(set(re.findall(r'"(3\.\d+)"', workflow)))
    assert tested[0] == oldest
    assert f"Python {', '.join(tested[:-1])} or {tested[-1]}" in README


def test_tokens_table_names_the_scopes_the_apps_ask_for():
    (allows,) = [row[1:] for row in table("Which token goes where") if row[0].startswith("Allows")]
    template = {app: dotenv_values(ROOT / app / "production.env") for app in SETTINGS}
    asked = (template["DjangoUI"]["API_SCOPE"], template["FlaskAPI"]["SCOPE"])
    assert [cell.strip("`") for cell in allows[1:]] == [str(s).rpartition("/")[2] for s in asked]


def test_tokens_table_names_who_gets_each_token_and_whom_it_is_for():
    rows = {row[0]: row[1:] for row in table("Which token goes where")}
    azure = MockAzure()
    sign_in = SignIn("alice", "", azure.clock.now())
    names = {azure.ui.client_id: "DjangoUI", azure.api.client_id: "FlaskAPI"}
    names |= {uri: "Azure Resource Manager" for uri in azure.applications[directory.ARM_ID].uris}
    arm = azure.applications[directory.ARM_ID]
    issued = [
        tokens.id_token_claims(azure, azure.ui, sign_in),
        tokens.access_token_claims(azure, azure.ui, azure.api, sign_in, set()),
        tokens.access_token_claims(azure, azure.api, arm, sign_in, set(), audience=arm.uris[0]),
    ]
    assert rows["Meant for (`aud`)"] == [names[claims["aud"]] for claims in issued]
    clients = [claims.get("azp") or claims.get("appid") or claims["aud"] for claims in issued]
    assert rows["Issued to"] == [names[client] for client in clients]


def test_refusals_table_is_complete_with_the_statuses_that_the_api_answers():
    """A code has a row if the page for it offers its reader something to do."""
    statuses, codes = {}, set()
    *named, rest = table("When the API says no")
    for cell, reaction in named:
        status, *row_codes = re.findall(r"\d{3}|[a-z]+(?:_[a-z]+)+", cell)
        for code in row_codes:
            statuses[code] = int(status)
            codes.add(code)
            signs_in = "to sign in" in reaction or "does the same" in reaction
            assert signs_in == (code in subscriptions.SIGN_IN), code
    answered = {code: ERROR_RESPONSES[code].status for code in ERROR_RESPONSES}
    assert statuses == {code: answered[code] for code in codes}
    refused = {code for code, status in answered.items() if status in (401, 403)}
    assert codes == {code for code in refused & PAGES.keys() if PAGES[code].action}
    waiting = {status for status in answered.values() if status == 429 or status > 500}
    assert {int(status) for status in re.findall(r"\d{3}", rest[0])} == waiting


def test_troubleshooting_names_pages_and_codes_together():
    titles = {page.title: code for code, page in PAGES.items()}
    seen = set()
    for symptom, remedy in table("Troubleshooting"):
        quoted = set(re.findall(r'"([A-Z][^"]+)"', symptom))
        codes = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", symptom))
        known = PAGES.keys() | ERROR_RESPONSES.keys() | {"access_as_user"}
        assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", symptom + remedy)) <= known, symptom
        if quoted & titles.keys():
            for code in codes:
                assert PAGES[code].title in quoted, symptom
        seen |= {PAGES[code].title for code in codes & PAGES.keys()} | quoted
    assert seen - titles.keys() == {"Port 5000 is taken"}  # the launcher's
    for_maintainers = {page.title for page in PAGES.values() if "run this app" in page.text}
    assert for_maintainers <= seen, for_maintainers - seen
    asks_to_sign_in = {PAGES[code].title for code in subscriptions.SIGN_IN}
    assert asks_to_sign_in <= seen, asks_to_sign_in - seen
    away = re.compile("unreachable|unavailable 503")
    nobody_answers = {p.title for code, p in PAGES.items() if away.search(f"{code} {p.status}")}
    assert nobody_answers <= seen, nobody_answers - seen
    for user in directory.users().values():
        assert user.may_consent or f"(in the demo: {user.given_name})" in section("Troubleshooting")


def test_every_aadsts_number_that_is_named_is_one_the_mock_answers_with():
    named = {int(number) for number in re.findall(r"AADSTS(\d+)", README)}
    assert named
    assert named <= AADSTS.keys()


def test_launch_configurations_have_the_names_of_the_text():
    named = set(re.findall(r"\*\*(Python: (?:Flask|Django)[^*]*)\*\*", README))
    found = set()
    for app in ("FlaskAPI", "DjangoUI"):
        launch = json.loads((ROOT / app / ".vscode/launch.json").read_text("utf-8"))
        found |= {configuration["name"] for configuration in launch["configurations"]}
    assert named == found == {"Python: Flask", "Python: Django", "Python: Django: Run Migrations"}


def test_powershell_blocks_can_be_parsed_and_call_only_what_we_know():
    """They were parsed and not run: no machine of ours has PowerShell."""
    import tree_sitter_powershell
    from tree_sitter import Language, Parser

    parser = Parser(Language(tree_sitter_powershell.language()))
    known = {
        r".\AppCreationScripts\Configure.ps1",
        "cd",
        "py",
        "pip",
        "flask",
        "python",
        "Set-ExecutionPolicy",
        r".\venv\Scripts\Activate.ps1",
    }
    blocks = fences("powershell")
    assert blocks
    for block in blocks:
        tree = parser.parse(block.encode())
        assert not tree.root_node.has_error, block
        stack, called = [tree.root_node], set()
        while stack:
            node = stack.pop()
            stack += node.children
            if node.type == "command_name":
                called.add(node.text.decode())
        assert called <= known, called - known


def test_the_project_speaks_of_itself_alone():
    hosts = "|".join(["pypi" + r"\.org", "files.pythonhosted", "registry.npmjs", "deb.debian"])
    pattern = re.compile(rf"{hosts}|\.\./shared|/work/|(?<!\w)/root/", re.IGNORECASE)
    for name in tracked():
        if name.endswith(".webp"):
            continue
        text = (ROOT / name).read_text("utf-8")
        if match := pattern.search(text):
            assert name.endswith("test_readme.py"), f"{match[0]} in {name}"


def test_no_secret_is_tracked():
    names = tracked()
    assert not [name for name in names if name.endswith(("development.env", ".pem", ".sqlite3"))]
    for name in names:
        if name.endswith("production.env"):
            values = dotenv_values(ROOT / name)
            for key in ("CLIENT_SECRET", "DJANGO_SECRET_KEY"):
                assert str(values.get(key, "ReplaceWith")).startswith("ReplaceWith"), name
