"""Each app's README matches its code: settings, responses, pages, modules and numbers."""

import inspect
import re
from pathlib import Path

import msal
import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.urls import URLPattern, URLResolver, get_resolver
from dotenv import dotenv_values
from flask import Flask, abort
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound

import Helpers.environment
import helpers.environment
from AzureManagement import subscriptions
from helpers import authorization, request_scope
from helpers import token_cache as token_cache_of_the_api
from Helpers.errors import API_PAGES
from helpers.errors import ERROR_RESPONSES, respond_http
from Helpers.session import TOKEN_CACHE
from Helpers.token_cache import sealed, token_cache
from main import create_app
from tests.imports import modules, own
from tests.unit.repository.documents import API, APPS, ROOT, UI, Document
from tests.unit.repository.test_readme import SAMPLE, names_of_tests

ENVIRONMENTS = {"FlaskAPI": helpers.environment, "DjangoUI": Helpers.environment}
BOTH = pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
TENANT = "11111111-2222-4333-8444-555555555555"


# --- Settings -------------------------------------------------------------------------------------


def default(app: str, key: str) -> str:
    """Return the cell that the table of settings should have."""
    module = ENVIRONMENTS[app]
    if key == "PRODUCTION_HOST":
        return "in production"
    if key in module.CREDENTIALS:
        return "one of four"
    if value := module.DEFAULTS.get(key):
        return f"`{Path(value).name}`"
    return "none" if key in module.OPTIONAL or key == "ENV_FILE" else "required"


@BOTH
def test_the_table_of_settings_is_complete_and_states_each_default(app):
    module = ENVIRONMENTS[app]
    stated = {row[0].strip("`"): row[1] for row in APPS[app].table("Settings")}
    assert stated == {key: default(app, key) for key in (module.MODE, "ENV_FILE", *module.CHECKS)}
    assert len(module.CREDENTIALS) == 4


@BOTH
def test_the_table_of_settings_shows_values_as_the_template_has_them(app):
    meanings = {row[0].strip("`"): row[2] for row in APPS[app].table("Settings")}
    for key in ("AUTHORITY", "SCOPE", "API_SCOPE", "LOGIN_URL"):
        if value := dotenv_values(ROOT / app / "production.env").get(key):
            value = value.replace("Flask_API_Client_ID", "<API client ID>")
            assert f"`{value.replace('ReplaceWithTenantID', '<tenant ID>')}`" in meanings[key]


@BOTH
def test_the_table_of_settings_lists_every_log_level_and_both_modes(app):
    meanings = {row[0].strip("`"): row[2] for row in APPS[app].table("Settings")}
    levels = tuple(re.findall(r"`([A-Z]+)`", meanings["LOG_LEVEL"]))
    assert levels == ENVIRONMENTS[app].LOG_LEVELS
    mode = ENVIRONMENTS[app].MODE
    for word in re.findall(r"`(\w+)`", meanings[mode]):
        assert (ROOT / app / f"{word}.env").name in ("development.env", "production.env")


def test_both_tables_of_settings_say_the_same_of_settings_that_mean_the_same():
    api, ui = ({row[0]: row[1:] for row in APPS[app].table("Settings")} for app in APPS)
    for key in (*helpers.environment.CREDENTIALS, "ENV_FILE", "CA_BUNDLE", "LOG_LEVEL"):
        assert api[f"`{key}`"] == ui[f"`{key}`"]


@BOTH
def test_every_setting_that_is_named_exists(app):
    named = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)`", APPS[app].text))
    known = {key for module in ENVIRONMENTS.values() for key in (module.MODE, *module.CHECKS)}
    others = {"HTTPS_PROXY", "NO_PROXY", "ENV_FILE", "AZURE_FEDERATED_TOKEN_FILE"}
    assert named <= known | others | {"GUNICORN_CMD_ARGS"}


def test_the_recipe_that_calls_another_api_names_every_kind_of_credential():
    (source,) = API.fences("python", "Call another API from it")
    named = re.findall(r'^    "([A-Z_]+)",$', source, re.M)
    assert tuple(named) == helpers.environment.CREDENTIALS


def test_secret_key_is_as_long_as_the_app_demands():
    (demanded,) = re.findall(r"[Aa]t least (\d+) characters", UI.section("Settings"))
    assert demanded == str(Helpers.environment.SECRET_KEY_LENGTH)


def test_production_needs_what_the_table_says():
    rows = {key for row in UI.table("In production") for key in re.findall(r"`(\w+)`", row[0])}
    assert rows == {
        "ENVIRONMENT",
        "PRODUCTION_HOST",
        *("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI", "FLASK_BACKEND_URL"),  # https, on that host
        *("MANAGED_IDENTITY_CLIENT_ID", "DJANGO_SECRET_KEY"),  # secrets are not in a file
        *("REDIS_URL", "BEHIND_TLS_PROXY"),  # several instances, and what is in front of them
    }
    told = re.search(r"Secrets \((.+?)\) must be", UI.section("In production"))
    assert told
    assert tuple(re.findall(r"`(\w+)`", told[1])) == Helpers.environment.SECRETS


# --- National clouds ------------------------------------------------------------------------------


def test_national_clouds_are_those_the_script_knows():
    rows = [
        [cell.strip("`").replace("<tenant ID>", TENANT) for cell in row]
        for row in API.table("National clouds")
    ]
    titles = [row[0] for row in API.table("National clouds")]
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    clouds = list(SAMPLE["clouds"].values())
    assert len(columns) == len(clouds) == 3
    for column, cloud in zip(columns, clouds, strict=True):
        told = dict(zip(titles, column, strict=True))
        authority, uri = f"{cloud['login']}/{TENANT}", f"{cloud['arm']}/subscriptions"
        assert told == {
            "Portal": cloud["portal"],
            "`AUTHORITY` in both apps": authority,
            "`ISSUER`": "the authority and `/v2.0",
            "`SCOPE` of FlaskAPI": f"{cloud['arm']}/user_impersonation",
            "`AZURE_MANAGEMENT_SUBSCRIPTIONS_URI`": f"{uri}?api-version=2020-01-01",
        }
        helpers.environment.load_settings(  # refuses what the API could not start with
            {
                "FLASK_ENV": "production",
                "ENV_FILE": "",
                "CLIENT_ID": TENANT,
                "CLIENT_SECRET": "x",
                "AUTHORITY": authority,
                "ISSUER": f"{authority}/v2.0",
                "SCOPE": told["`SCOPE` of FlaskAPI"],
                "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": told["`AZURE_MANAGEMENT_SUBSCRIPTIONS_URI`"],
            }
        )


# --- Answers and pages ----------------------------------------------------------------------------


def test_the_table_of_answers_is_that_of_the_code():
    challenges = {None: "none", "": "a challenge without an error"}
    told = {row[0].strip("`"): (row[1], row[2].strip("`")) for row in API.tables("Answers")[1]}
    ours = {
        code: (str(answer.status), challenges.get(answer.challenge, answer.challenge))
        for code, answer in ERROR_RESPONSES.items()
    }
    flasks_own = {}
    for error in (BadRequest, NotFound, MethodNotAllowed):
        app = Flask(__name__)
        app.before_request(request_scope.begin)
        app.register_error_handler(HTTPException, respond_http)
        app.add_url_rule("/", view_func=lambda error=error: abort(error.code))
        answer = app.test_client().get("/")
        challenge = answer.headers.get("WWW-Authenticate", "none")
        flasks_own[answer.json["code"]] = (str(answer.status_code), challenge)
    assert told == ours | flasks_own
    assert list(told) == [*ERROR_RESPONSES, *flasks_own]


@pytest.mark.usefixtures("one_root")
def test_the_requests_are_those_that_the_api_answers(azure):
    requests = [re.match(r"`GET (/[\w-]+)", row[0]) for row in API.tables("Answers")[0]]
    settings = helpers.environment.load_settings(azure.flask_api_settings())
    rules = create_app(settings).url_map.iter_rules()
    assert {match[1] for match in requests if match} == {rule.rule for rule in rules}


def addresses(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> set[str]:
    found = set()
    for pattern in patterns:
        here = prefix + re.sub(r"<\w+:(\w+)>", r"<\1>", str(pattern.pattern))
        found |= (
            addresses(pattern.url_patterns, here) if hasattr(pattern, "url_patterns") else {here}
        )
    return found


def test_the_pages_are_those_of_the_app():
    told = [row[0].strip("`") for row in UI.table("Pages")]
    assert set(told) == addresses(get_resolver().url_patterns) | {"/health"}


def test_the_web_app_reacts_to_every_answer_as_the_code_does():
    *named, others, waiting = UI.table("When the API says no")
    reactions = {}
    for cell, reaction in named:
        status, *codes = re.findall(r"\d{3}|[a-z]+(?:_[a-z]+)+", cell)
        for code in codes:
            assert ERROR_RESPONSES[code].status == int(status), code
            reactions[code] = reaction
    statuses = {code: answer.status for code, answer in ERROR_RESPONSES.items()}
    assert reactions.keys() == {code for code, status in statuses.items() if status in (401, 403)}
    for code, reaction in reactions.items():
        signs_in = "to sign in" in reaction or "does the same" in reaction
        assert signs_in == (code in subscriptions.SIGN_IN), code
        renews = "gets a new token A" in reaction or "does the same" in reaction
        assert renews == (code in subscriptions.RETRY_WITH_NEW_TOKEN), code
        shows_a_page = reaction.startswith("shows a page")
        assert shows_a_page == (not signs_in and not renews), code
    forgets = {code for code, reaction in reactions.items() if "forgets its tokens" in reaction}
    assert forgets == {"assertion_rejected"}
    rest = {status for status in statuses.values() if status not in (401, 403)}
    both = [set(map(int, re.findall(r"\d{3}", row[0]))) for row in (others, waiting)]
    assert both[0] | both[1] == rest
    for code, status in statuses.items():
        if status in both[0] and code in API_PAGES:
            assert API_PAGES[code].action == "", code


# --- Modules --------------------------------------------------------------------------------------


@BOTH
def test_the_modules_are_listed_in_reading_order(app):
    """Complete, and each before those that it imports."""
    rows = [row[0].strip("`") for row in APPS[app].table("Modules in reading order")]
    listed = [row.removesuffix(".py").replace("/", ".") for row in rows]
    assert sorted(listed) == sorted(modules(app))
    for name, imported in own(app).items():
        for other in imported - {name}:
            assert listed.index(name) < listed.index(other), f"{name} imports {other}"


# --- Sizing ---------------------------------------------------------------------------------------


def rounded(number: float) -> str:
    """Return a number in the table's format: two significant digits, at least one."""
    digits = 10 ** max(len(str(round(number))) - 2, 0)
    return f"{max(1, round(number / digits) * digits):,}"


def benchmarked() -> tuple[float, float]:
    """Return FlaskAPI's requests/s with and without token B in its cache, relative to a proxy's."""
    text = " ".join(Document("tests/benchmarks/README.md").text.split())
    found = re.search(r"reaches ([\d.]+) to ([\d.]+) of .*? before, and ([\d.]+) with new", text)
    assert found
    least, most, cold = map(float, found.groups())
    return (least + most) / 2, cold


def test_the_sizes_follow_from_the_measured_figures():
    text = " ".join(UI.section("Sizing").split())
    ui_ms, api_ms = map(int, re.findall(r"(\d+) ms", text))
    (kilobytes,) = map(int, re.findall(r"(\d+) KB is a safe estimate", text))
    (cached_kilobytes,) = map(int, re.findall(r"(\d+) KB more for each user", text))
    fits = int(token_cache_of_the_api.MAX_BYTES / 1000 / cached_kilobytes)
    assert set(re.findall(r"([\d,]+)(?: active)? users", text)) == {rounded(fits)}
    warm, cold = benchmarked()
    assert round(warm / cold) == 2  # "twice the CPU"
    sizes = UI.table("Sizing")
    assert [row[0] for row in sizes] == ["1,000", "100,000", "1,000,000"]
    for users, *told in sizes:
        number = int(users.replace(",", ""))
        pages = number / 60
        megabytes = number * kilobytes / 1000
        memory = f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:g} GB"
        expected = [rounded(pages), memory, rounded(pages * ui_ms / 1000)]
        for workers in (2, 4 if number <= fits else 60):  # at 60, each page is at a new worker
            exchanges = number * workers / 3600
            expected += [rounded((pages + exchanges) * api_ms / 1000), rounded(exchanges)]
        assert told == expected


def test_sessions_are_encrypted_as_far_as_the_page_says():
    """Tokens can't be read, but moved to another session by somebody who can write to the store."""
    tokens = msal.SerializableTokenCache()
    tokens.deserialize('{"AccessToken": {"key": {"secret": "token A"}}}')
    stolen, another = SessionBase(), SessionBase()
    stolen[TOKEN_CACHE] = sealed(tokens)
    assert "token A" not in stolen[TOKEN_CACHE]
    another[TOKEN_CACHE] = stolen[TOKEN_CACHE]
    with token_cache(another) as moved:
        assert "token A" in moved.serialize()


def test_the_apis_log_names_a_setting_that_its_readme_explains():
    """``authorization.py`` sends readers of its log to README.md, which may be this one alone."""
    assert "requestedAccessTokenVersion in README.md" in inspect.getsource(authorization)
    assert "`requestedAccessTokenVersion`" in API.text


@pytest.mark.usefixtures("one_root")
def test_the_headers_are_those_of_the_api(azure):
    """Every code word of that paragraph, and every request header that the API reads."""
    settings = helpers.environment.load_settings(azure.flask_api_settings())
    answer = create_app(settings).test_client().get("/subscriptions")
    assert answer.status_code == 401
    on_all = ("Cache-Control", "X-Content-Type-Options")
    always = [f"{name}: {answer.headers[name]}" for name in on_all]
    expected = {*always, request_scope.CORRELATION_HEADER, "Server-Timing", "Retry-After"}
    assert request_scope.CORRELATION_HEADER in answer.headers
    assert "Server-Timing" in answer.headers
    source = "".join(path.read_text("utf-8") for path in (ROOT / "FlaskAPI/helpers").glob("*.py"))
    expected |= set(re.findall(r'timed\("(\w+)"\)', source))
    expected |= set(re.findall(r'describe_timing\("obo", "(\w+)"\)', source))
    (paragraph,) = re.findall(r"^Every answer has .+$", API.section("Answers"), re.M)
    assert set(re.findall(r"`([^`]+)`", paragraph)) == expected
    read = set(re.findall(r"request\.headers(?:\.get\(|\[)([^,\])]+)[,\])](?! =)", source))
    assert read == {"CORRELATION_HEADER", '"Authorization"'}


# Each security decision, by its first words, and a test that fails if it is not kept.
DECISIONS = {
    "FlaskAPI/README.md": {
        "The signature is checked": "test_refuses_another_algorithm_with_the_right_key",
        "`iss`, `aud`": "test_refuses_claims_with",
        "Only users may call": "test_refuses_claims_with",
        "`ALLOWED_CLIENT_IDS`": "test_a_list_of_clients_decides_about_a_client_that_is",
        "A token of more": "test_a_token_of_16_kib_is_validated",
        "The clocks": "test_the_clocks_may_differ_by_a_minute",
        "Signing keys are downloaded": "test_skips_a_key_that_is",
        "A download happens": "test_old_keys_are_refreshed_in_the_background",
        "An unknown key ID": "test_unknown_keys_cause_one_refresh_in_a_minute",
        "Token B is cached per": "test_two_alternating_users_never_get_each_others_token",
        "Token B is kept no longer": "test_no_token_outlives_the_assertion_it_came_from",
        "The cache holds": "test_keeps_no_more_than_64_mib_of_memory_by_default",
        "MSAL's own caches": "test_with_msals_own_memory_one_users_answer_would_reach_the_next",
        "Token B is sent to": "test_the_token_never_leaves_arm_through_a_next_link_of",
        "All calls of one": "test_the_ui_waits_longer_than_the_api_works",
        "An answer of more": "test_pages_without_end_are_an_error",
        "A line": "test_the_log_has_one_line_for_each_request_without_the_user",
    },
    "DjangoUI/README.md": {
        "Each unfinished sign-in": "test_tabs_can_sign_in_at_once_in_any_order",
        "Entra's answer": "test_requests_all_permissions_with_pkce_and_response_mode_query",
        "The app checks": "test_has_its_nonce_checked_by_this_app_too",
        "`oid` and `tid`": "test_identity_consists_of_oid_and_tenant",
        "The session gets": "test_starts_a_session_with_a_new_key_and_no_old_contents",
        "After a sign-in": "test_signing_in_redirects_to_this_site_only",
        "A cookie records": "test_end_when_the_session_does_not_last",
        "A session ends": "test_ends_the_session_after_eight_hours_even_if_it_is_used",
        "MSAL's token cache": "test_no_token_can_be_read_in_redis",
        "The encryption does not protect": "test_sessions_are_encrypted_as_far_as_the_page_says",
        "Each sign-in deletes": "test_deletes_expired_sessions",
        "Signing out is a POST": "test_signing_out_needs_the_forms_token",
        "A Content-Security-Policy": "test_allow_nothing_but_our_style_and_images",
        "Django's debug pages": "test_keeps_the_contents_of_a_page_out_of_the_log",
        "A line": "test_names_the_route_the_status_and_the_time",
    },
}


@BOTH
def test_each_security_decision_has_a_test(app):
    document = APPS[app]
    decided = re.findall(r"^- (.+)$", document.section("Security decisions"), re.M)
    proved = DECISIONS[document.name]
    assert len(decided) == len(proved)
    for text, words in zip(decided, proved, strict=True):
        assert text.startswith(words), text
    assert set(proved.values()) <= names_of_tests(), set(proved.values()) - names_of_tests()
