"""AzureManagement.how_it_works: the explanation in development."""

import re

import pytest

from AzureManagement.how_it_works import TIMING

TIMINGS = 'validate;dur=0.4, obo;desc="miss";dur=12.3, arm;desc="12 pages";dur=8.7'
TRACE = "http://localhost:8400/trace/"


def text_of(response):
    """The page's words, with white space folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.text).split())


@pytest.fixture
def with_jwt(visitor, tenant, api):
    """A browser in which Alice is signed in, with a JWT as her access token, like Entra's."""
    query = visitor.begin()
    access_token = tenant.access_token(aud="the-api", sub="another", azp="the-ui")
    tenant.answer_tokens(access_token=access_token)
    visitor.finish(query)
    rows = [{"subscriptionId": "one"}, {"subscriptionId": "two"}]
    api.answer(headers={"Server-Timing": TIMINGS}, value=rows)
    return visitor


def test_shows_each_hop_with_its_time(with_jwt, monkeypatch, settings):
    monkeypatch.setattr("Helpers.flask_api.perf_counter", iter([1.0, 1.25]).__next__)
    page = text_of(with_jwt.get("/"))
    assert f"requested {settings.SCOPE} , where" in page
    assert f"GET {settings.FLASK_BACKEND_URL} with token A" in page
    assert f"Its scope is {settings.API_SCOPE} ." in page
    assert "250.0 ms in total" in page
    assert "0.4 ms to validate it" in page
    assert "Cache miss" in page
    assert "GET /subscriptions , 12 pages, with token B" in page
    for milliseconds in ("12.3 ms", "8.7 ms"):
        assert milliseconds in page


@pytest.mark.parametrize("word", ["hit", "miss"])
def test_defines_the_on_behalf_of_flow_and_says_where_token_b_is(with_jwt, api, word):
    api.answers[0][1]["Server-Timing"] = TIMINGS.replace("miss", word)
    page = text_of(with_jwt.get("/"))
    assert "The on-behalf-of flow : FlaskAPI sends token A to Entra" in page
    assert "Token B is not shown" in page


def test_says_that_entra_was_not_called_when_the_api_had_token_b(with_jwt, api):
    api.answers[0][1]["Server-Timing"] = TIMINGS.replace("miss", "hit")
    page = text_of(with_jwt.get("/"))
    assert "not called" in page
    assert "Cache hit" in page


def test_compares_the_claims_of_both_tokens(with_jwt, settings):
    response = with_jwt.get("/")
    assert f'data-of="ID token"><code>{settings.CLIENT_ID}</code>' in response.text
    assert 'data-of="token A"><code>the-api</code>' in response.text
    assert '<th role="rowheader" scope="row"><code>aud</code></th>' in response.text
    page = text_of(response)
    assert f"aud {settings.CLIENT_ID} the-api Audience" in page
    assert "scp none access_as_user Scope" in page
    assert "sub pairwise another" in page
    assert re.search(r"exp \d\d:\d\d:\d\d UTC \d\d:\d\d:\d\d UTC Expiry", page)


def test_shows_the_claims_of_the_access_token_that_was_renewed(with_jwt, tenant, api, settings):
    assert "another" in text_of(with_jwt.get("/"))
    api.refuse("token_expired")
    tenant.answer_tokens(
        access_token=tenant.access_token(sub="renewed"), expires_in=5400, scope=settings.API_SCOPE
    )
    page = text_of(with_jwt.get("/"))
    assert "sub pairwise renewed" in page
    assert "another" not in page


def test_shows_the_home_tenant_of_guests_only(visitor, tenant, api):
    for idp in ({}, {"idp": "https://sts.windows.net/the-home-tenant/"}):
        query = visitor.begin()
        tenant.answer_tokens(id_token=tenant.id_token(**idp))
        visitor.finish(query)
        api.answer(value=[])
        page = text_of(visitor.get("/"))
        assert ("the-home-tenant/ none Identity provider" in page) == bool(idp)


def test_is_reached_from_the_top_of_a_long_list(with_jwt):
    page = with_jwt.get("/").text
    assert ">2 in this tenant · <a" in page
    assert page.index('href="#how-it-works"') < page.index("<table")


def test_an_error_page_links_to_the_steps_that_led_to_it(signed_in, api, settings):
    settings.TRACE_URL = TRACE
    api.answer(500)
    response = signed_in.get("/")
    assert response.status_code == 502
    assert f'href="{TRACE}{response["x-ms-client-request-id"]}"' in response.text
    settings.ENVIRONMENT = "production"
    api.answer(500)
    response = signed_in.get("/")
    assert response.status_code == 502
    assert TRACE not in response.text


def test_shows_no_signature_and_no_whole_token(with_jwt):
    page = with_jwt.get("/").text
    assert "eyJ" not in page
    assert "signature" not in page
    assert "refresh-token" not in page


def test_links_to_the_mocks_trace_of_this_request(with_jwt, settings):
    settings.TRACE_URL = TRACE
    response = with_jwt.get("/")
    assert f'href="{TRACE}{response["x-ms-client-request-id"]}"' in response.text


def test_without_the_mock_there_is_no_link(with_jwt):
    page = with_jwt.get("/").text
    assert "See every step" not in page
    assert "The mock issued it" not in page


def test_production_does_not_show_it(with_jwt, settings):
    settings.ENVIRONMENT = "production"
    settings.TRACE_URL = TRACE
    page = with_jwt.get("/").text
    assert ">2 in this tenant</p>" in page
    assert "How it works" not in page
    assert TRACE not in page
    assert "the-api" not in page


@pytest.mark.parametrize(
    "server_timing", ["", "arm", "arm;dur=x", "a;dur=1;desc=2, <b>;dur=3", "a;dur=1.2.3"], ids=repr
)
def test_tolerates_other_timings_and_opaque_tokens(signed_in, api, server_timing):
    api.answer(headers={"Server-Timing": server_timing}, value=[])
    response = signed_in.get("/")
    assert response.status_code == 200
    assert "How it works" in response.text


def test_shows_nothing_about_a_hop_that_the_api_does_not_describe(signed_in, api):
    api.answer(headers={"Server-Timing": "arm;dur=8.7"}, value=[])
    page = text_of(signed_in.get("/"))
    assert "GET /subscriptions with token B" in page
    assert "to validate it" not in page


@pytest.mark.parametrize(
    "token", ["a.b.c", "e30.WyJhdWQiXQ.x"], ids=["not-base64", "claims-in-a-list"]
)
def test_tolerates_an_access_token_with_odd_contents(visitor, tenant, token):
    query = visitor.begin()
    tenant.answer_tokens(access_token=token)
    visitor.finish(query)
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize("claim", [{"exp": 10**18}, {"sub": "\ud800"}], ids=["exp", "text"])
def test_tolerates_odd_claims(visitor, tenant, claim):
    query = visitor.begin()
    tenant.answer_tokens(id_token=tenant.id_token(**claim))
    visitor.finish(query)
    assert visitor.get("/").status_code == 200


def test_reads_what_the_api_writes():
    assert TIMING.findall(TIMINGS) == [
        ("validate", "", "0.4"),
        ("obo", "miss", "12.3"),
        ("arm", "12 pages", "8.7"),
    ]
