"""Sign-in, consent, second factor and sign-out, page by page."""

import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.mock_azure import tokens
from tests.mock_azure.directory import ARM_ID, COMMAND_LINE_ID, GRAPH_ID, Permission


def test_user_is_chosen_then_consents_once_for_both_applications(azure, front, redirected):
    page = front.authorize()
    assert page.status_code == 200
    for user in azure.users.values():
        assert user.name in page.text
    page = front.press(page, "user", "alice")
    assert "Access Python Flask Web API" not in page.text  # the step between the two is implied
    assert "Access Azure Resource Manager as you" in page.text
    assert page.text.count("(for FlaskAPI)") == 1  # which needs that, while DjangoUI asks
    assert "would like, for Alice Adams (alice@contoso.example)" in page.text
    assert "(DjangoUI)" in page.text
    assert "Maintain access" in page.text
    answer = redirected(front.press(page, "decision", "accept"))
    assert answer["state"] == "the state"
    assert {"code", "session_state", "client_info"} <= set(answer)
    assert azure.consents.granted("alice", azure.api.client_id, ARM_ID) == {"user_impersonation"}
    ui, api = azure.ui.client_id, azure.api.client_id
    assert azure.consents.granted("alice", ui, api) == {"access_as_user"}


def test_shows_neither_page_the_second_time(front, redirected):
    front.sign_in()
    assert "code" in redirected(front.authorize())


def test_consent_is_remembered_for_each_user(azure, front, redeem, redirected):
    front.sign_in("alice")
    page = front.press(front.authorize(prompt="select_account"), "user", "bob")
    assert "Permissions requested" in page.text
    front.press(page, "decision", "accept")
    code = redirected(front.authorize())["code"]  # the session is now Bob's
    claims = tokens.unverified(redeem(code).json["access_token"])
    assert claims["oid"] == azure.users["bob"].oid


def test_user_consents_to_everything_that_the_api_needs(azure, front):
    required = (*azure.api.required, (GRAPH_ID, "User.Read"))
    azure.applications[azure.api.client_id] = replace(azure.api, required=required)
    page = front.press(front.authorize(), "user", "bob")
    assert page.text.count("(for FlaskAPI)") == 2
    front.press(page, "decision", "accept")
    granted = azure.consents.granted
    assert granted("bob", azure.api.client_id, ARM_ID) == {"user_impersonation"}
    assert granted("bob", azure.api.client_id, GRAPH_ID) == {"User.Read"}


def test_policy_of_each_requested_resource_counts(azure, front):
    azure.policies.add("mfa", "gina", "alice", resource=GRAPH_ID)
    scope = f"{azure.api.uris[0]}/access_as_user User.Read"
    page = front.press(front.authorize(scope=scope), "user", "alice")
    assert "Approve this sign-in, Alice" in page.text
    assert "Permissions requested" in front.press(page, "decision", "accept").text


@pytest.mark.parametrize(
    ("scope", "is_known"),
    [
        pytest.param("access_as_user", True, id="a named scope"),
        pytest.param(".default", False, id="a client the API does not know"),
    ],
)
def test_grants_nothing_downstream_for(azure, front, scope, is_known):
    if not is_known:
        azure.applications[azure.api.client_id] = replace(azure.api, known_clients=())
    front.sign_in(scope=f"api://{azure.api.client_id}/{scope}")
    granted = azure.consents.granted
    assert granted("alice", azure.ui.client_id, azure.api.client_id) == {"access_as_user"}
    assert not granted("alice", azure.api.client_id, ARM_ID)


def test_default_does_not_ask_again_while_anything_is_granted(azure, front, redirected):
    """A permission added to the registration later does not show the page again."""
    front.sign_in()
    api, ui = azure.api, azure.ui
    more = {**api.permissions, "more": Permission("More", "More of it.")}
    azure.applications[api.client_id] = replace(api, permissions=more)
    required = (*ui.required, (api.client_id, "more"))
    azure.applications[ui.client_id] = replace(ui, required=required)
    assert "code" in redirected(front.authorize())
    named = front.authorize(scope=f"api://{api.client_id}/more")
    assert "Permissions requested" in named.text
    azure.consents.revoke("alice", client=api.client_id, resource=ARM_ID)
    assert "Permissions requested" in front.authorize().text


def test_prompt_consent_shows_the_page_although_all_is_granted(azure, front):
    azure.consent_all()
    page = front.press(front.authorize(prompt="consent"), "user", "alice")
    assert "Permissions requested" in page.text


def test_prompt_login_asks_although_there_is_a_session(front):
    front.sign_in()
    assert "Choose who you are" in front.authorize(prompt="login").text


def test_asks_who_signs_in_if_the_hint_names_another_user(front, redirected):
    front.sign_in("alice")
    page = front.authorize(login_hint="bob@contoso.example")
    assert re.findall(r'value="(.*)" autofocus', page.text) == ["bob"]
    assert "code" in redirected(front.authorize(login_hint="Alice@contoso.example"))
    guest = "Frank_fabrikam.example#EXT#@contoso.example"
    for hint in (guest, "frank@fabrikam.example"):
        page = front.authorize(login_hint=hint)
        assert re.findall(r'value="(.*)" autofocus', page.text) == ["frank"]
    front.press(page, "user", "frank")
    assert "Permissions requested" in front.authorize(login_hint=guest).text


def test_asks_to_sign_in_again_if_the_session_is_older_than_max_age(azure, front, redirected):
    front.sign_in()
    azure.clock.advance(60)
    assert "code" in redirected(front.authorize(max_age="61"))
    assert "Choose who you are" in front.authorize(max_age="59").text


def test_client_learns_that_the_sign_in_was_cancelled(front, redirected):
    answer = redirected(front.press(front.authorize(), "user", ""))
    assert answer == {
        "error": "access_denied",
        "error_subcode": "cancel",
        "state": "the state",
    }


def test_client_learns_that_consent_was_declined_and_nothing_is_granted(azure, front, redirected):
    page = front.press(front.authorize(), "user", "alice")
    answer = redirected(front.press(page, "decision", "cancel"))
    assert answer["error"] == "access_denied"
    assert answer["error_description"].startswith("AADSTS65004: ")
    assert not azure.consents.granted("alice", azure.ui.client_id, azure.api.client_id)


def test_user_who_may_not_consent_is_told_to_ask_an_administrator(azure, front, redirected):
    page = front.press(front.authorize(), "user", "dave")
    assert "AADSTS90094" in page.text
    assert "<h1>An administrator must approve this</h1>" in page.text
    assert page.status_code == 200
    (back,) = re.findall(r'<a href="([^"]+)">Go back to DjangoUI', unescape(page.text))
    told = dict(parse_qsl(urlsplit(back).query))
    assert (told["error"], told["state"]) == ("access_denied", "the state")
    assert told["error_description"].startswith("AADSTS90094: ")
    azure.consent_all("dave")
    assert "code" in redirected(front.authorize())


def test_user_who_may_not_consent_can_use_another_account(front, redirected):
    front.press(front.authorize(), "user", "dave")
    page = front.authorize(state="a&b")  # the browser has a session: no choice of account
    (link,) = re.findall(r'href="([^"]+)">Use another account', page.text)
    page = front.press(front.get(unescape(link)), "user", "alice")
    assert redirected(front.press(page, "decision", "accept"))["state"] == "a&b"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"redirect_uri": "http://localhost:8000/account/Callback"}, 50011),
        ({"redirect_uri": "http://LOCALHOST:8000/account/callback"}, 50011),
        ({"redirect_uri": "HTTP://localhost:8000/account/callback"}, 50011),
        ({"client_id": None}, 900144),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 700016),
        ({"redirect_uri": None}, 50011),
        ({"redirect_uri": "http://localhost:8000/account/callback/"}, 50011),
        ({"redirect_uri": "http://localhost:8000/account/callback?x=1"}, 50011),
        ({"redirect_uri": "http://127.0.0.1:8000/account/callback"}, 50011),
        ({"redirect_uri": "https://localhost:8000/account/callback"}, 50011),
        ({"redirect_uri": "http://localhost:8000@evil.example/account/callback"}, 50011),
        ({"redirect_uri": "http://localhost:8000.evil.example/account/callback"}, 50011),
        ({"redirect_uri": "http://localhost:99999999/account/callback"}, 50011),
        ({"redirect_uri": "javascript:alert(1)"}, 50011),
        ({"state": ["one", "two"]}, 9002313),
    ],
    ids=[
        "the path in another case",
        "the host in another case",
        "the scheme in another case",
        "no client ID",
        "an unknown client ID",
        "no redirect URI",
        "a slash at the end",
        "a query at the end",
        "127.0.0.1 for localhost",
        "https for http",
        "localhost as a user name",
        "localhost as a subdomain",
        "an impossible port",
        "a script",
        "two states",
    ],
)
def test_shows_a_page_and_never_redirects_for(front, parameters, code):
    response = front.authorize(**parameters)
    assert response.status_code == 400
    assert f"AADSTS{code}" in response.text
    assert "Location" not in response.headers


def test_keeps_the_query_of_a_registered_redirect_uri(azure, front):
    uri = "http://localhost:8000/account/callback?tab=1"
    azure.applications[azure.ui.client_id] = replace(azure.ui, redirect_uris=(uri,))
    found = front.sign_in(redirect_uri=uri)
    assert found["tab"] == "1"
    assert found["code"]


def test_ignores_the_port_of_localhost(front):
    page = front.authorize(redirect_uri="http://localhost:12345/account/callback")
    assert "Choose who you are" in page.text


def test_compares_the_port_of_other_addresses(azure, front):
    secure = replace(azure.ui, redirect_uris=("https://localhost:8000/callback",))
    azure.applications[azure.ui.client_id] = secure
    page = front.authorize(redirect_uri="https://localhost:8000/callback")
    assert "Choose who you are" in page.text
    page = front.authorize(redirect_uri="https://localhost:8001/callback")
    assert "AADSTS50011" in page.text


def test_accepts_the_longest_plain_challenge(front):
    plain = {"code_challenge": "c" * 128, "code_challenge_method": "plain"}
    assert "Choose who you are" in front.authorize(**plain).text


def test_tenant_may_be_left_open_by_a_public_client_only(azure, front):
    query = {"response_type": "code", "scope": "openid", "redirect_uri": "http://localhost:5555"}
    path = "/organizations/oauth2/v2.0/authorize"
    page = front.get(path, query_string=query | {"client_id": COMMAND_LINE_ID})
    assert "Choose who you are" in page.text
    assert "Microsoft Graph Command Line Tools" in page.text
    assert "DjangoUI" not in page.text
    query |= {"client_id": azure.ui.client_id, "redirect_uri": azure.ui.redirect_uris[0]}
    assert "AADSTS50194" in front.get(path, query_string=query).text


def test_shows_a_page_for_an_unknown_tenant(front):
    assert "AADSTS90002" in front.get("/common/oauth2/v2.0/authorize").text


@pytest.mark.parametrize(
    ("parameters", "error", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type", 700054),
        ({"response_mode": "okta_post_message"}, "invalid_request", 70007),
        ({"code_challenge": None}, "invalid_request", 501491),
        ({"code_challenge_method": "S512"}, "invalid_request", 90023),
        ({"code_challenge": "short"}, "invalid_request", 501491),
        ({"code_challenge": "c" * 44}, "invalid_request", 501491),
        ({"prompt": "create"}, "invalid_request", 90023),
        ({"max_age": "-1"}, "invalid_request", 90023),
        ({"claims": "not json"}, "invalid_request", 9002313),
        ({"claims": '{"access_token":{"nbf":1}}'}, "invalid_request", 9002313),
        (
            {"code_challenge": "c" * 129, "code_challenge_method": "plain"},
            "invalid_request",
            501491,
        ),
        ({"claims": "[" * 100_000}, "invalid_request", 9002313),
        ({"scope": None}, "invalid_request", 900144),
        ({"scope": "api://other/.default"}, "invalid_resource", 500011),
        ({"scope": "User.Write"}, "invalid_client", 650053),
        ({"scope": "https://management.azure.com/.default"}, "invalid_resource", 650057),
        ({"prompt": "none"}, "login_required", 50058),
    ],
    ids=[
        "another response type",
        "another response mode",
        "a method without a challenge",
        "another challenge method",
        "a challenge that is too short",
        "a challenge that is too long",
        "another prompt",
        "a negative max_age",
        "claims that are not JSON",
        "a claim that is not an object",
        "a plain challenge that is too long",
        "claims nested too deeply",
        "no scope",
        "an unknown resource",
        "an unknown scope",
        "a resource the registration does not list",
        "no session for a silent sign-in",
    ],
)
def test_tells_the_client_about(front, redirected, parameters, error, code):
    answer = redirected(front.authorize(**parameters))
    assert answer["error"] == error
    assert answer["error_description"].startswith(f"AADSTS{code}: ")
    assert answer["state"] == "the state"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"code_challenge": None, "code_challenge_method": None}, 900144),
        ({"code_challenge_method": "plain"}, 90023),
        ({"code_challenge_method": None}, 90023),
    ],
    ids=["no challenge", "a plain challenge", "a challenge without a method"],
)
def test_demands_pkce_if_told_to_and_rejects(azure, front, redirected, parameters, code):
    assert "Choose who you are" in front.authorize(**parameters).text
    azure.require_pkce = True
    try:
        answer = redirected(front.authorize(**parameters))
    finally:
        azure.require_pkce = False
    assert answer["error_description"].startswith(f"AADSTS{code}: ")


@pytest.mark.parametrize(
    "claims",
    [
        '{"access_token":null}',
        '{"access_token":{"capolids":{"values":5},"xms_cc":{"values":"cp1"}}}',
        '{"access_token":{"nbf":{"value":[]}}}',
        '{"id_token":{"x":1}}',
    ],
    ids=["null", "values that are not a list", "a time that is a list", "another token's"],
)
def test_ignores_claims_that_demand_nothing(front, claims):
    assert "code" in front.sign_in(claims=claims)


def test_silent_sign_in_without_consent_needs_interaction(azure, front, redirected):
    front.sign_in()
    azure.consents.revoke("alice")
    assert redirected(front.authorize(prompt="none"))["error"] == "interaction_required"
    azure.consent_all()
    assert "code" in redirected(front.authorize(prompt="none"))
    policy = azure.policies.add("mfa", resource=azure.api.client_id)
    assert policy.policy_id in redirected(front.authorize(prompt="none"))["claims"]


def test_form_post_answers_with_a_form_for_the_client_only(front):
    front.sign_in()
    page = front.authorize(response_mode="form_post")
    assert 'action="http://localhost:8000/account/callback"' in page.text
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page.text))
    assert set(fields) == {"code", "session_state", "client_info", "state"}
    assert fields["state"] == "the state"
    cancelled = front.press(front.authorize(response_mode="form_post", prompt="login"), "user", "")
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', cancelled.text))
    assert fields == {"error": "access_denied", "error_subcode": "cancel", "state": "the state"}
    assert "form-action http://localhost:8000" in page.headers["Content-Security-Policy"]


def test_fragment_mode_answers_behind_a_hash(azure, front):
    front.sign_in()
    location = front.authorize(response_mode="fragment").headers["Location"]
    address, _, fragment = location.partition("#")
    assert address == "http://localhost:8000/account/callback"
    assert {"code", "state"} <= set(dict(parse_qsl(fragment)))
    azure.reset()
    location = front.authorize(response_mode="fragment", prompt="none").headers["Location"]
    assert location.startswith("http://localhost:8000/account/callback#error=login_required&")


@pytest.mark.parametrize("address", ["/login", "/mfa", "/consent"])
def test_rejects_a_form_that_the_mock_did_not_make(azure, front, address):
    form = {"request": "forged", "user": "alice", "decision": "accept"}
    response = front.post(f"/{azure.tenant_id}{address}", data=form)
    assert (response.status_code, "AADSTS9002313" in response.text) == (400, True)


def test_rejects_the_form_of_another_page(azure, front):
    """The sign-in page's form sent to the consent page would skip choosing a user."""
    sealed = re.findall(r'name="request" value="([^"]+)"', front.authorize().text)[0]
    form = {"request": sealed, "decision": "accept"}
    response = front.post(f"/{azure.tenant_id}/consent", data=form)
    assert response.status_code == 400


def test_rejects_a_form_left_open_for_more_than_an_hour(azure, front):
    page = front.authorize()
    azure.clock.advance(3599)
    assert "Permissions requested" in front.press(page, "user", "alice").text
    azure.clock.advance(2)
    assert front.press(page, "user", "alice").status_code == 400


def test_session_cookie_cannot_be_read_by_scripts_or_sent_from_other_sites(front):
    page = front.press(front.authorize(), "user", "alice")
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("mockazure_sid=")
    assert {"HttpOnly", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}


def test_reset_ends_every_session(azure, front):
    front.sign_in()
    azure.reset()
    assert "Choose who you are" in front.authorize().text


def test_every_page_says_what_it_is(front):
    sign_in = front.authorize()
    consent = front.press(sign_in, "user", "alice")
    for page in (front.get("/"), sign_in, consent, front.authorize(client_id="x")):
        assert "Mock Azure: not Microsoft" in page.text
        assert '<html lang="en">' in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
    for page in (sign_in, consent):  # whose form leads back to the client, and nowhere else
        policy = page.headers["Content-Security-Policy"]
        assert policy.endswith("form-action 'self' http://localhost:8000")


def test_pages_escape_what_the_request_brings(front):
    page = front.authorize(redirect_uri="<script>alert(1)</script>")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


def log_out(azure, front, user="alice", **parameters):
    path = f"/{azure.tenant_id}/oauth2/v2.0/logout"
    hint = {"logout_hint": tokens.login_hint(azure.users[user])} if user else {}
    return front.get(path, query_string=hint | parameters)


def test_sign_out_ends_the_session_and_returns_to_a_registered_page(azure, front):
    front.sign_in()
    page = "http://localhost:8000/account/signed-out"
    response = log_out(azure, front, post_logout_redirect_uri=page, state="s")
    assert (response.status_code, response.headers["Location"]) == (303, f"{page}?state=s")
    response = log_out(azure, front, post_logout_redirect_uri=page)
    assert response.headers["Location"] == page
    assert "Choose who you are" in front.authorize().text


@pytest.mark.parametrize("user", [None, "bob"], ids=["no account", "another account"])
def test_sign_out_asks_which_account_if_the_app_names(azure, front, user):
    front.sign_in("alice")
    address = "http://localhost:8000/account/signed-out"
    page = log_out(azure, front, user=user, post_logout_redirect_uri=address, state="s")
    assert "Which account" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.endswith("form-action 'self' http://localhost:8000")
    elsewhere = log_out(azure, front, user=user, post_logout_redirect_uri="https://evil.example/")
    assert elsewhere.headers["Content-Security-Policy"].endswith("form-action 'self'")
    assert "alice@contoso.example" in page.text
    assert "code=" in front.authorize().headers["Location"]  # still signed in
    form = dict(re.findall(r'name="([^"]+)" value="([^"]+)"', page.text))
    response = front.post(f"/{azure.tenant_id}/oauth2/v2.0/logout", data=form)
    assert response.headers["Location"] == f"{address}?state=s"
    assert "Choose who you are" in front.authorize().text


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "http://localhost:8000/", ""],
    ids=["a foreign site", "the app's root", "no address"],
)
def test_sign_out_stays_here_for_an_address_that_is_not_registered(azure, front, target):
    response = log_out(azure, front, post_logout_redirect_uri=target)
    assert (response.status_code, "You signed out" in response.text) == (200, True)
    assert "Location" not in response.headers


def test_graph_scopes_alone_are_consented_to_once_each(azure, front):
    front.sign_in(scope="openid profile")
    assert azure.consents.granted("alice", azure.ui.client_id, GRAPH_ID) == {"openid", "profile"}
