"""Every page, with markup in each value from Entra, the API, Azure or a visitor."""

from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from django.utils.html import escape

from Helpers.errors import PAGES

MARKUP = """x"' evil='1' evil="1"><evil>{{ evil }}{% evil %}</script></title></code>&lt;evil&gt;"""


class Reader(HTMLParser):
    """Collects the elements and attributes that a browser would see, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.text: list[str] = []
        self.values: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(response) -> Reader:
    page = Reader(response.text)
    assert not [name for name in page.names if "evil" in name]
    return page


@pytest.fixture
def with_markup(visitor, tenant, api, settings):
    """A browser with markup in every claim of the user and in every value of the API."""
    settings.TRACE_URL = "http://localhost:8400/trace/"
    query = visitor.begin()
    claims = dict.fromkeys(
        ("name", "preferred_username", "login_hint", "sub", "oid", "azp", "scp"), MARKUP
    )
    access_token = tenant.access_token(**claims, iss=MARKUP, aud=MARKUP, tid=MARKUP, exp=MARKUP)
    tenant.answer_tokens(id_token=tenant.id_token(**claims), access_token=access_token)
    visitor.finish(query)
    keys = ("displayName", "subscriptionId", "state", MARKUP)
    timing = f'validate;dur=1, obo;desc="{MARKUP}";dur=2, {MARKUP};dur=3'
    api.answer(value=[dict.fromkeys(keys, MARKUP)], headers={"Server-Timing": timing})
    return visitor


def test_the_list_shows_all_values_as_text(with_markup):
    page = read(with_markup.get("/"))
    assert page.text.count(MARKUP) == 4 + 4 + 8  # user and row, the claims of both tokens
    assert MARKUP in page.values  # the user name, as a tooltip
    assert "".join(page.text).count("<evil>") > 14  # and the JSON


def test_the_sign_out_page_shows_the_user_as_text(with_markup):
    page = read(with_markup.get("/account/logout"))
    assert MARKUP in page.text
    assert f"({MARKUP})" in "".join(page.text)


BUTTONS = {
    "retry": '<a class="button" href="/account/login">Try again</a>',
    "sign_in": '<a class="button" href="/account/login">Sign in again</a>',
    "sign_out": '<a class="button" href="/account/logout">Sign out</a>',
    "home": '<a class="button" href="/">Go to the home page</a>',
}


@pytest.mark.parametrize("code", sorted(PAGES))
def test_each_page_of_a_problem_shows_the_user_as_text(with_markup, code):
    response = with_markup.get(f"/account/problem/{code}?reference={quote(MARKUP)}")
    page, expected = read(response), PAGES[code]
    assert MARKUP in page.text
    assert f"<title>{escape(expected.title)} · Azure subscriptions</title>" in response.text
    assert f"<h1>{escape(expected.title)}</h1>" in response.text
    assert "<p></p>" not in response.text
    buttons = [button for button in BUTTONS.values() if button in response.text]
    assert buttons == ([BUTTONS[expected.action]] if expected.action else [])
    assert response.text.count('<a class="button"') == len(buttons)
    waits = expected.action == "retry" and expected.status != 403
    assert ("<p>Wait a moment, then try again.</p>" in response.text) == waits


def test_markup_in_the_address_is_escaped_everywhere(visitor, with_markup, api):
    api.answers.clear()
    api.refuse("downstream_error", 502)
    page = read(with_markup.get("/", {"x": MARKUP, MARKUP: "x"}))
    assert [value for value in page.values if value.startswith("/?x=")]  # "Try again"
    for path in (f"/{quote(MARKUP)}", f"/account/problem/{quote(MARKUP)}"):
        assert "evil" not in "".join(read(visitor.get(path)).text)
