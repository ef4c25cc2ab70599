"""The output of all three programs during a full walkthrough contains no secrets."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.e2e.test_walkthrough import accept

JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.")
PERSONAL = ("Carol Clark", "carol@contoso.example", "Contoso Production")


@pytest.fixture
def addresses(page: Page) -> list[str]:
    """Every address that the browser requests, in order."""
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.append(request.url)

    page.on("request", note)
    return seen


def test_no_token_code_secret_or_name_is_written(demo, page: Page, addresses):
    page.goto(demo.ui)
    page.get_by_role("button", name=re.compile("Carol")).click()
    accept(page)
    for _ in range(3):  # the second factor, and whatever else this demo asks for
        page.wait_for_load_state()
        if page.get_by_role("button", name="Approve").count():
            page.get_by_role("button", name="Approve").click()
    expect(page).to_have_url(f"{demo.ui}/")
    page.goto(f"{demo.ui}/no-such-page?code=a-code-in-a-query")
    page.goto(f"{demo.ui}/account/callback?code=a-forged-code&state=forged")
    page.goto(f"{demo.api}/subscriptions?access_token=a-token-in-a-query")
    page.goto(demo.ui)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{demo.ui}/account/signed-out")

    written = demo.written()
    assert "/account/callback" in written  # requests are logged, so this test sees something
    assert "path=/subscriptions status=200" in written
    secrets = ["a-code-in-a-query", "a-forged-code", "a-token-in-a-query"]
    for address in addresses:
        query = parse_qs(urlsplit(address).query)
        for name in ("code", "state", "nonce", "code_challenge", "client_info", "session_state"):
            secrets += [value for value in query.get(name, []) if len(value) > 8]
    assert len(secrets) > 8
    for text in (*secrets, *PERSONAL):
        assert text not in written, text
    assert not re.search(r"\beyJ[\w-]{10}", written)  # how every JWT begins
    assert "Traceback" not in written


def test_no_token_or_code_stays_in_the_browser(demo, page: Page, addresses):
    page.goto(demo.ui)
    page.get_by_role("button", name=re.compile("Frank")).click()
    accept(page)
    expect(page).to_have_url(f"{demo.ui}/")
    assert not JWT.search(page.content())
    for cookie in page.context.cookies():
        assert not JWT.search(cookie["value"])
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert not [address for address in addresses if JWT.search(address)]
