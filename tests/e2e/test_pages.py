"""Every page, narrow and wide, in light and dark: reachable, readable, and inside the window."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

WIDTHS = [1280, 320]  # pixels; 320 is what WCAG 2.2 asks for in "Reflow"
SCHEMES = ["light", "dark"]


@pytest.fixture(params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request, browser: Browser) -> Iterator[Page]:
    """A window of each width, in each colour scheme."""
    width, scheme = request.param
    size = ViewportSize(width=width, height=800)
    with browser.new_context(viewport=size, color_scheme=scheme) as context:
        yield context.new_page()


def is_fine(page: Page) -> None:
    """No rule of axe is broken, and nothing sticks out of the window."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


def choose(page: Page, demo, name: str) -> None:
    page.goto(demo.ui)
    page.get_by_role("button", name=re.compile(name)).click()
    accept = page.get_by_role("button", name="Accept")
    if accept.count():  # only the first time in this demo
        is_fine(page)
        accept.click()
    expect(page).to_have_url(f"{demo.ui}/")


def test_sign_in_list_trace_and_sign_out(demo, page: Page):
    page.goto(demo.ui)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    is_fine(page)
    choose(page, demo, "Alice")
    page.locator("summary").click()
    expect(page.locator("pre")).to_be_visible()
    is_fine(page)
    page.get_by_role("link", name="What Azure saw of this").click()
    expect(page.get_by_role("table").first).to_contain_text("user_impersonation")
    is_fine(page)
    page.goto(f"{demo.ui}/account/logout")
    is_fine(page)
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{demo.ui}/account/signed-out")
    is_fine(page)


def test_an_empty_list(demo, page: Page):
    choose(page, demo, "Bob")
    expect(page.get_by_role("heading", name="There is nothing to show")).to_be_visible()
    is_fine(page)


def test_three_hundred_subscriptions(demo, page: Page):
    choose(page, demo, "Gina")
    expect(page.get_by_role("table").first.get_by_role("row")).to_have_count(301)
    is_fine(page)


@pytest.mark.parametrize("code", ["consent_required", "sign_in_expired", "not_found"])
def test_what_stands_in_the_way(demo, page: Page, code):
    page.goto(f"{demo.ui}/account/problem/{code}?reference=8f0cdd6e-6a2b-4b5e-9a60-0a6a2f6ce111")
    is_fine(page)


def test_the_keyboard_is_enough(demo, page: Page):
    page.goto(demo.ui)
    page.get_by_role("button", name=re.compile("Frank")).press("Enter")
    if page.get_by_role("button", name="Accept").count():
        page.get_by_role("button", name="Accept").press("Enter")
    expect(page).to_have_url(f"{demo.ui}/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("pre")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    sign_out = page.get_by_role("button", name="Sign out")
    expect(sign_out).to_be_focused()
    # What has the focus can be seen to have it.
    assert sign_out.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{demo.ui}/account/signed-out")
