"""Signing in and out with browser features: tabs, double clicks and the Back button."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserType, Page, expect


def choose_alice(page: Page) -> None:
    page.get_by_role("button", name=re.compile("Alice")).click()


def sign_in(page: Page, apps) -> None:
    page.goto(apps.ui.url)
    choose_alice(page)
    page.get_by_role("button", name="Accept").click()


def sees_the_list(page: Page, apps) -> None:
    expect(page).to_have_url(f"{apps.ui.url}/")
    expect(page.get_by_role("table", name="Your subscriptions")).to_contain_text(
        "Contoso Production"
    )


def test_double_clicks_do_no_harm(azure, apps, page: Page):
    page.goto(f"{apps.ui.url}/account/signed-out")
    page.get_by_role("link", name="Sign in").dblclick()
    page.get_by_role("button", name=re.compile("Alice")).dblclick()
    page.get_by_role("button", name="Accept").dblclick()
    sees_the_list(page, apps)
    page.reload()
    sees_the_list(page, apps)


def test_an_old_sign_in_page_leads_to_the_list(azure, apps, page: Page):
    """The Back button leads to a sign-in page that has already been completed."""
    page.goto(apps.ui.url)
    sign_in_page = page.url
    choose_alice(page)
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page, apps)
    page.goto(sign_in_page)
    sees_the_list(page, apps)
    page.go_back()
    page.go_forward()
    sees_the_list(page, apps)


def test_no_code_is_left_in_the_history(azure, apps, page: Page):
    seen = []
    page.on("framenavigated", lambda frame: seen.append(frame.url))
    sign_in(page, apps)
    sees_the_list(page, apps)
    assert len(seen) >= 3
    assert not [url for url in seen if "code=" in url.replace("response_type=code", "")]


def test_three_tabs_sign_in_side_by_side(azure, apps, page: Page):
    tabs = [page, page.context.new_page(), page.context.new_page()]
    for number, tab in enumerate(tabs):
        tab.goto(f"{apps.ui.url}/?tab={number}")
    choose_alice(tabs[2])
    tabs[2].get_by_role("button", name="Accept").click()
    choose_alice(tabs[0])
    choose_alice(tabs[1])
    for number, tab in enumerate(tabs):
        expect(tab).to_have_url(f"{apps.ui.url}/?tab={number}")
        expect(tab.get_by_role("table", name="Your subscriptions")).to_contain_text(
            "Contoso Production"
        )


@pytest.fixture
def page_with_history(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> Iterator[Page]:
    """A page of a browser with a back/forward cache, which is off by default in tests."""
    browser = browser_type.launch(
        **browser_type_launch_args, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield browser.new_page()
    browser.close()


def test_the_back_button_shows_nothing_after_signing_out(azure, apps, page_with_history: Page):
    page = page_with_history
    sign_in(page, apps)
    sees_the_list(page, apps)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{apps.ui.url}/account/signed-out")
    page.wait_for_load_state()
    page.evaluate("setTimeout(() => history.back())")
    # Back leads to the list. The browser must request it again, and DjangoUI redirects to Entra.
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_text("Contoso Production")).to_have_count(0)


def test_a_second_tab_shows_nothing_after_signing_out(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page, apps)
    other = page.context.new_page()
    other.goto(apps.ui.url)
    sees_the_list(other, apps)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{apps.ui.url}/account/signed-out")
    other.reload()
    expect(other.get_by_role("heading", name=re.compile("Sign in|Choose"))).to_be_visible()
    other.go_back()
    expect(other.get_by_text("Contoso Production")).to_have_count(0)
