"""Every page, wide in light mode and narrow in dark mode, is accessible and fits the window."""

import re
from typing import Literal

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize, expect

ColorScheme = Literal["light", "dark"]
WINDOWS: list[tuple[int, ColorScheme]] = [(1280, "light"), (320, "dark")]
"""Widths in pixels (WCAG 2.2 requires 320 for "Reflow") and color schemes."""
# ``preload`` would request every style sheet again, which no rule in use needs.
CHECK = "axe.run({resultTypes: ['violations'], preload: false})"


def is_fine(page: Page) -> None:
    """The page breaks no rule of axe and overflows in no window."""
    page.evaluate(Axe().axe_script)  # once: this takes almost as long as a check
    for width, scheme in WINDOWS:
        page.set_viewport_size(ViewportSize(width=width, height=800))
        page.emulate_media(color_scheme=scheme)
        found = AxeResults(page.evaluate(CHECK))
        assert found.violations_count == 0, found.generate_report()
        assert not overflows(page), page.url


def overflows(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def choose(page: Page, apps, name: str) -> None:
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile(name)).click()
    page.get_by_role("button", name="Accept").click()
    expect(page).to_have_url(f"{apps.ui.url}/")


@pytest.mark.usefixtures("azure")
def test_sign_in_list_trace_and_sign_out(apps, page: Page):
    page.goto(apps.ui.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    is_fine(page)
    page.get_by_role("button", name=re.compile("Alice")).click()
    expect(page.get_by_role("heading", name="Permissions requested")).to_be_visible()
    is_fine(page)
    page.get_by_role("button", name="Accept").click()
    page.locator("summary").click()
    expect(page.locator("pre")).to_be_visible()
    is_fine(page)
    page.get_by_role("link", name="See every step").click()
    expect(page.get_by_role("heading", name="FlaskAPI listed 4")).to_be_visible()
    page.goto(f"{apps.ui.url}/account/logout")
    is_fine(page)
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{apps.ui.url}/account/signed-out")
    is_fine(page)


@pytest.mark.usefixtures("azure")
def test_shows_an_empty_list(apps, page: Page):
    choose(page, apps, "Bob")
    expect(page.get_by_role("heading", name="There is nothing to show")).to_be_visible()
    is_fine(page)


@pytest.mark.usefixtures("azure")
def test_shows_three_hundred_subscriptions(apps, page: Page):
    choose(page, apps, "Gina")
    table = page.get_by_role("table", name="Your subscriptions")
    expect(table.get_by_role("row")).to_have_count(301)
    page.set_viewport_size(ViewportSize(width=320, height=800))
    assert not overflows(page)


@pytest.mark.parametrize("code", ["consent_required", "sign_in_expired", "not_found"])
def test_shows_an_error_page(apps, page: Page, code):
    page.goto(
        f"{apps.ui.url}/account/problem/{code}?reference=8f0cdd6e-6a2b-4b5e-9a60-0a6a2f6ce111"
    )
    is_fine(page)


@pytest.mark.usefixtures("azure")
def test_the_keyboard_is_enough(apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Frank")).press("Enter")
    page.get_by_role("button", name="Accept").press("Enter")
    expect(page).to_have_url(f"{apps.ui.url}/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="How it works")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("pre")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    sign_out = page.get_by_role("button", name="Sign out")
    expect(sign_out).to_be_focused()
    # What has the focus can be seen to have it.
    assert sign_out.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{apps.ui.url}/account/signed-out")
