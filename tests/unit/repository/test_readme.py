"""The README matches the code: links, settings, tables, numbers, commands and registration.

Each table is read here and compared with the data that it is about, never with a copy of itself.
"""

import functools
import json
import re
import runpy
import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib.sessions.backends import cache
from dotenv import dotenv_values

import Helpers.environment
import helpers.environment
import Helpers.token_acquisition
import run
from Account import unfinished_sign_ins
from AzureManagement import subscriptions
from Helpers import flask_api, redis_sessions
from helpers import (
    authorization,
    azure_resource_manager,
    http_session,
    request_scope,
    signing_keys,
    token_acquisition,
    token_cache,
)
from Helpers.errors import PAGES
from helpers.errors import ERROR_RESPONSES
from tests.mock_azure import MockAzure, directory, tokens
from tests.mock_azure.errors import AADSTS
from tests.mock_azure.policies import SignIn
from tests.unit.repository.documents import API, README, ROOT, UI, Document, tracked

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
    "Take it into your own app",
    "Deployment",
    "Troubleshooting",
    "More information",
    "Community help and support",
    "Contributing",
]
# What other pages may link to: headings of this README, now or before.
ANCHORS = [
    *("overview", "scenario", "contents", "prerequisites", "setup", "registration"),
    *("the-short-way", "the-manual-way", "register-the-api", "register-the-web-app"),
    *("a-certificate-instead-of-a-secret", "let-one-consent-cover-both-apps"),
    *("running-the-sample", "flaskapi", "djangoui", "explore-the-sample", "about-the-code"),
    *("the-path-of-a-request", "signing-in", "when-the-api-says-no", "which-token-goes-where"),
    *("optional-settings", "national-clouds", "deployment", "containers-on-your-machine"),
    *("settings-in-production", "azure-container-apps", "sizing", "troubleshooting"),
    *("app-service-kubernetes-and-a-linux-machine", "more-information"),
    *("community-help-and-support", "contributing"),
]
DOCUMENTS = [Document(name) for name in tracked() if name.endswith(".md")]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_within_the_repository_lead_somewhere(document):
    for links in re.findall(r"\]\(([^)\s]+)\)|<img .*?src=\"([^\"]+)\"", document.text):
        target = "".join(links)
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = document.file if not path else (document.file.parent / path).resolve()
        assert file.exists(), target
        if anchor:
            assert anchor in Document(str(file.relative_to(ROOT))).anchors(), target


def test_sections_stand_in_order_and_in_the_table_of_contents():
    assert re.findall(r"^## (.+)$", README.prose, re.M) == SECTIONS
    (contents,) = re.findall(r"^\[Overview\]\(#.+$", README.text, re.M)
    assert re.findall(r"\[(.+?)\]\(#", contents) == SECTIONS


def test_links_from_elsewhere_still_find_their_section():
    assert set(ANCHORS) <= README.anchors(), set(ANCHORS) - README.anchors()


@pytest.mark.parametrize("app", [API, UI], ids=["FlaskAPI", "DjangoUI"])
def test_the_table_of_contents_of_an_apps_page_is_complete(app):
    headings = re.findall(r"^## (.+)$", app.prose, re.M)
    assert re.findall(r"^- \[(.+)\]\(#", app.text, re.M) == headings


def test_contents_names_what_is_there():
    named = set(re.findall(r"^\| `([^`]+)` \|", README.section("Contents"), re.M))
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
    for name in set(re.findall(r"`((?:FlaskAPI|DjangoUI|tests)/[\w./]+)`", README.text)):
        generated = name.endswith(("development.env", "/venv"))
        assert generated or (ROOT / name).exists(), name


SETTINGS = {
    "FlaskAPI": {helpers.environment.MODE, *helpers.environment.CHECKS},
    "DjangoUI": {Helpers.environment.MODE, *Helpers.environment.CHECKS},
}


def test_every_setting_that_is_named_exists():
    named = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)`", README.text))
    assert named <= SETTINGS["FlaskAPI"] | SETTINGS["DjangoUI"]


@pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
def test_the_template_holds_what_the_app_reads_and_the_readme_fills_in(app):
    template = dotenv_values(ROOT / app / "production.env")
    assert template.keys() <= SETTINGS[app]
    holes = {key for key, value in template.items() if re.search("Replace|Flask_API", value or "")}
    title = {"FlaskAPI": "Register the API", "DjangoUI": "Register the web app"}[app]
    filled = set(re.findall(r"^\| `([A-Z_]+)` \|", README.section(title), re.M))
    assert filled == holes - {"PRODUCTION_HOST"}


def test_the_manual_steps_register_what_the_apps_ask_for():
    api, ui = README.section("Register the API"), README.section("Register the web app")
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


def test_users_table_says_who_they_are_and_what_they_have():
    rows = README.table("Explore the sample")
    users = directory.users()
    assert {row[0].lower() for row in rows} == users.keys()
    for name, to_see in rows:
        user = users[name.lower()]
        numbers = {
            word for word in re.findall(r"\w+", to_see.lower()) if word in NUMBERS or word.isdigit()
        }
        many = len(user.subscriptions)
        assert numbers <= {spoken_number(many), str(many)}, to_see
        assert ("empty list" in to_see) == (many == 0)
        assert ("many pages" in to_see) == (many > 25)
        assert ("second factor" in to_see) == user.needs_mfa
        assert ("may not consent" in to_see) == (not user.may_consent)
        assert ("guest" in to_see) == user.is_guest
        if not (user.needs_mfa or user.is_guest or not user.may_consent or many == 0):
            assert numbers, f"{name}: how many subscriptions?"


HOUR = MockAzure().token_lifetime_seconds[0]
DURATIONS = {
    "README.md": {
        "first start": {30},  # measured, not set anywhere
        "Tokens live two minutes": {120},  # tests/mock_azure/scenarios.py
    },
    "FlaskAPI/README.md": {
        "clocks of the servers": {authorization.CLOCK_SKEW_SECONDS},
        "A download happens": {signing_keys.REFRESH_SECONDS, signing_keys.USABLE_SECONDS},
        "An unknown key ID": {signing_keys.UNKNOWN_KEY_SECONDS},
        "kept no longer": {token_acquisition.REFRESH_EARLY_SECONDS},
        "All calls of one request": {
            request_scope.REQUEST_SECONDS,
            flask_api.ANSWER_SECONDS,
        },
        "exchanges a token once": {HOUR},
        "finishes its running requests": {30},  # stop_grace_period in docker-compose.yml
        "The API says that your sign-in has expired": {HOUR, authorization.CLOCK_SKEW_SECONDS},
    },
    "DjangoUI/README.md": {
        "Each unfinished sign-in": {unfinished_sign_ins.KEEP_SECONDS},
        "MSAL itself checks": {Helpers.token_acquisition.CLOCK_SKEW_SECONDS},
        "A cookie records": {unfinished_sign_ins.JUST_SECONDS},
        "A session ends": {settings.SESSION_COOKIE_AGE},
        "Remove the old key": {settings.SESSION_COOKIE_AGE},
        "finishes its running requests": {30},
        "exchanges a token once": {HOUR},
        "`sign_in_expired`": {unfinished_sign_ins.KEEP_SECONDS},
    },
}


@pytest.mark.parametrize("document", [README, API, UI], ids=lambda document: document.name)
def test_every_duration_matches_the_code(document):
    """Each paragraph, list item or row with a duration is identified by words in it."""
    durations = DURATIONS[document.name]
    for block in re.split(r"\n\n|\n(?=[-|] |\d+\. )", document.text):
        found = set(re.findall(DURATION, " ".join(block.split())))
        if found:
            known = [words for words in durations if words in " ".join(block.split())]
            expected = {spoken(seconds) for words in known for seconds in durations[words]}
            assert found == expected, block
    for words in durations:
        assert words in " ".join(document.text.split()), words
    assert spoken(unfinished_sign_ins.KEEP_SECONDS) in PAGES["sign_in_expired"].text


def gunicorn(app: str) -> dict[str, object]:
    return runpy.run_path(str(ROOT / app / "gunicorn.conf.py"))


def test_every_other_number_matches_the_code():
    facts = {
        API: [
            f"more than {authorization.MAX_TOKEN_BYTES >> 10} KiB",
            f"RSA keys of {signing_keys.MIN_KEY_BITS} bits",
            f"holds {token_cache.MAX_BYTES >> 20} MiB at most",
            f"more than {http_session.MAX_BODY_BYTES >> 20} MiB or "
            f"{azure_resource_manager.MAX_PAGES} pages",
        ],
        UI: [
            f"at most {spoken_number(unfinished_sign_ins.KEEP_MOST)} at a time",
            f"({token_cache.MAX_BYTES >> 20} MiB at most)",
        ],
        README: [f"more than {gunicorn('DjangoUI')['workers'] * gunicorn('DjangoUI')['threads']}"],
    }
    for app, document in (("FlaskAPI", API), ("DjangoUI", UI)):
        workers, threads = (spoken_number(gunicorn(app)[key]) for key in ("workers", "threads"))
        facts[document].append(f"{workers} workers with {threads} threads each")
    for document, phrases in facts.items():
        for phrase in phrases:
            assert phrase in document.text, phrase


def test_secret_key_is_as_long_as_the_app_demands():
    demanded = re.findall(r"at least (\d+) characters", README.section("Register the web app"))
    assert demanded == [str(Helpers.environment.SECRET_KEY_LENGTH)]


def test_ports_and_python_versions_are_those_of_the_launcher():
    command = [sys.executable, "run.py", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ports = dict(re.findall(r"of (\w+) \((\d+)\)", told))
    for app in ("DjangoUI", "FlaskAPI"):
        assert f"{app}<br/>localhost:{ports[app]}" in README.text
    front = re.search(r"of the mock's pages \((\d+)\)", told)
    assert front
    assert set(re.findall(r"http://localhost:(\d+)", README.text)) == {ports["DjangoUI"], front[1]}
    oldest = ".".join(map(str, run.OLDEST_PYTHON))
    assert f"Python {oldest} or newer" in README.text
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    tested = sorted(set(re.findall(r'"(3\.\d+)"', workflow)))
    assert tested[0] == oldest
    assert f"Python {', '.join(tested[:-1])} or {tested[-1]}" in README.text


def test_tokens_table_names_the_scopes_the_apps_ask_for():
    (allows,) = [
        row[1:] for row in README.table("Which token goes where") if row[0].startswith("Allows")
    ]
    template = {app: dotenv_values(ROOT / app / "production.env") for app in SETTINGS}
    asked = (template["DjangoUI"]["API_SCOPE"], template["FlaskAPI"]["SCOPE"])
    assert [cell.strip("`") for cell in allows[1:]] == [str(s).rpartition("/")[2] for s in asked]


def test_tokens_table_names_who_gets_each_token_and_whom_it_is_for():
    rows = {row[0]: row[1:] for row in README.table("Which token goes where")}
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


def test_tokens_table_says_where_each_is_kept_and_who_reads_it():
    rows = {row[0]: row[1:] for row in README.table("Which token goes where")}
    assert list(rows) == ["Issued to", "Meant for (`aud`)", "Allows (`scp`)", "Kept", "Read by"]
    assert rows["Read by"] == rows["Meant for (`aud`)"]  # nobody else should
    session, memory = "in the user's session, on the server", "in FlaskAPI's memory"
    assert rows["Kept"] == [session, session, memory]
    # Neither kind of session is the one that Django keeps in a cookie.
    assert settings.SESSION_ENGINE.startswith("django.contrib.sessions.backends.db")
    assert issubclass(redis_sessions.SessionStore, cache.SessionStore)


# Each promise of the first screen, by its first words, and a test that fails if it is broken.
PROMISES = {
    "No tenant needed": "test_a_user_signs_in_sees_the_list_and_signs_out",
    "Every step is visible": "test_tells_the_whole_round_trip_from_the_first_redirect",
    "Conditional Access works": "test_a_policy_sends_the_user_through_the_second_factor_and_back",
    "The API is strict": "test_refuses_claims_with",
    "Users are isolated": "test_one_users_error_does_not_affect_the_next",
    "It runs in production": "test_a_restart_signs_nobody_out",
}

# Each row of the three tables of troubles, by words of it, and a test that provokes the trouble.
TROUBLES = {
    "README.md": {
        "An approval is missing": "test_consent_that_the_api_lacks_is_asked_for_once",
        "AADSTS90094": "test_a_user_who_may_not_consent_learns_whom_to_ask",
        "`invalid_claims`": "test_the_log_says_that_a_token_is_of_version_1",
        "AADSTS50011": "test_shows_a_page_and_never_redirects_for",
        "AADSTS7000215": "test_relays_an_answer_of_entra",
        "AADSTS50076": "test_a_policy_sends_the_user_through_the_second_factor_and_back",
        "`client_not_allowed`": "test_a_list_of_clients_decides_about_a_client_that_is",
        "`api_unreachable`": "test_explains_an_api_that_fails",
        "The list is empty": "test_says_why_a_list_can_be_empty",
        "Port 5000 is taken": "test_names_a_taken_port_and_the_option_that_changes_it",
    },
    "FlaskAPI/README.md": {
        "has just issued": "test_refuses_a_token_of_graph_whose_signature_is_over_another_nonce",
        "`insufficient_scope`": "test_missing_scope_is_asked_for_once",
        "`app_only_token`": "test_refuses_claims_with",
        "`token_expired`": "test_the_clocks_may_differ_by_a_minute",
        "FileNotFoundError`": (
            "test_a_certificate_is_reported_as_wrong_settings_while_its_file_is_missing"
        ),
        "no token for MANAGED": "test_the_identity_endpoint_refuses_the_app",
        "AADSTS70025": "test_is_refused_if_the_registration_does_not_trust_it",
        "Your access cannot be checked now": "test_the_api_answers_503_without_keys",
        "Azure cannot be reached": "test_says_that_arm_cannot_be_reached_if_nothing_listens",
    },
    "DjangoUI/README.md": {
        "cannot be trusted": "test_is_refused_with",
        "`sign_in_expired`": "test_a_callback_of_somebody_else_signs_nobody_in",
        "`assertion_rejected`": "test_rejected_assertion_costs_the_token_cache",
        "AADSTS500011": "test_explains",
        "`FileNotFoundError` or": "test_file_without_a_certificate_is_reported_as_wrong_settings",
        "`no_token`": "test_asks_to_sign_in_once_when_no_token_fits",
        "Microsoft Entra ID cannot be reached": "test_explains_that_entra_issues_no_new_token",
        "cannot remember": "test_without_redis_there_is_a_page_and_afterwards_the_list",
        "`bad_request`": "test_another_host_is_refused",
        "too many redirects": "test_without_a_proxy_no_header_may_claim_https",
    },
}


def test_each_promise_of_the_first_screen_has_a_test():
    first_screen = README.text.partition("\n## ")[0]
    promised = re.findall(r"^- \*\*(.+?)\.\*\*", first_screen, re.M)
    assert promised == list(PROMISES)
    assert set(PROMISES.values()) <= names_of_tests()


@pytest.mark.parametrize("document", [README, API, UI], ids=lambda document: document.name)
def test_each_trouble_has_a_test(document):
    rows = [" ".join(row) for row in document.table("Troubleshooting")]
    troubles = TROUBLES[document.name]
    for row in rows:
        assert sum(words in row.partition(" | ")[0] for words in troubles) == 1, row
    for words, name in troubles.items():
        assert any(words in row for row in rows), words
        assert name in names_of_tests(), name
    assert document is not README or len(rows) == 10


@functools.cache
def names_of_tests() -> set[str]:
    files = (ROOT / "tests").glob("*/**/test_*.py")
    return {
        name
        for file in files
        if "venv" not in file.parts
        for name in re.findall(r"def (test_\w+)\(", file.read_text("utf-8"))
    }


def test_troubleshooting_names_pages_and_codes_together():
    titles = {page.title: code for code, page in PAGES.items()}
    seen = set()
    known = PAGES.keys() | ERROR_RESPONSES.keys() | {"access_as_user"}
    for document in (README, API, UI):
        for symptom, remedy in document.table("Troubleshooting"):
            quoted = set(re.findall(r'"([A-Z][^"]+)"', symptom))
            codes = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", symptom))
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
        known_in_demo = f"(in the demo: {user.given_name})"
        assert user.may_consent or known_in_demo in README.section("Troubleshooting")


@pytest.mark.parametrize("document", [README, API, UI], ids=lambda document: document.name)
def test_every_aadsts_number_that_is_named_is_one_the_mock_answers_with(document):
    named = {int(number) for number in re.findall(r"AADSTS(\d+)", document.text)}
    assert named
    assert named <= AADSTS.keys()


def test_the_first_screen_names_the_link_to_the_journey():
    page = "DjangoUI/AzureManagement/templates/AzureManagement/how_it_works.html"
    (link,) = re.findall(r'href="{{ how_it_works.trace }}">(.+?)</a>', (ROOT / page).read_text())
    assert f"choose **{link}**" in README.text.partition("\n## ")[0]


def test_the_exchange_matches_the_code():
    (told,) = README.fences("python")
    file = re.search(r"from \[`([\w/.]+)`\]", README.text.partition("```python")[0])
    assert file
    lines = [line.strip() for line in (ROOT / file[1]).read_text("utf-8").splitlines()]
    source = "\n".join(lines)
    parts = re.split(r"^ *\.\.\.\n", told, flags=re.M)
    for part in parts:
        assert "\n".join(line.strip() for line in part.strip().splitlines()) in source, part
    assert "acquire_token_on_behalf_of(" in told


def test_launch_configurations_have_the_names_of_the_text():
    named = set(re.findall(r"\*\*(Python: (?:Flask|Django)[^*]*)\*\*", API.text + UI.text))
    found = set()
    for app in ("FlaskAPI", "DjangoUI"):
        launch = json.loads((ROOT / app / ".vscode/launch.json").read_text("utf-8"))
        found |= {configuration["name"] for configuration in launch["configurations"]}
    assert named == found == {"Python: Flask", "Python: Django", "Python: Django: Run Migrations"}


def test_powershell_blocks_can_be_parsed_and_call_only_what_we_know():
    """They are parsed, not run, because the test machines have no PowerShell."""
    import tree_sitter_powershell
    from tree_sitter import Language, Parser

    parser = Parser(Language(tree_sitter_powershell.language()))
    known = {
        r".\AppCreationScripts\Configure.ps1",
        "cd",
        "py",
        r"DjangoUI\venv\Scripts\pip",
        r"FlaskAPI\venv\Scripts\pip",
        "flask",
        "python",
        "Get-Credential",
        "Set-ExecutionPolicy",
        r".\venv\Scripts\Activate.ps1",
    }
    blocks = [block for document in DOCUMENTS for block in document.fences("powershell")]
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
