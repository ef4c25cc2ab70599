"""The promises of the README's first screen, in a real browser."""

import json
import re

from playwright.sync_api import Page, expect


def sign_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("button", name=re.compile(name)).click()


def accept(page: Page) -> None:
    expect(page.get_by_role("heading", name="Permissions requested")).to_be_visible()
    page.get_by_role("button", name="Accept").click()


def test_a_user_signs_in_sees_the_list_and_signs_out(demo, page: Page):
    page.goto(demo.ui)
    expect(page).to_have_url(re.compile(rf"^{demo.front}/.*/oauth2/v2.0/authorize\?"))
    page.get_by_role("button", name=re.compile("Alice Adams")).click()

    expect(page.get_by_text("Python Django Web App")).to_be_visible()
    expect(page.get_by_text("Access Azure Resource Manager as you")).to_be_visible()
    accept(page)

    expect(page).to_have_url(f"{demo.ui}/")
    rows = page.get_by_role("table", name="Your subscriptions").get_by_role("row")
    expect(rows).to_have_count(5)
    expect(rows.nth(1)).to_contain_text("Contoso Production")
    page.locator("summary", has_text="JSON").click()
    shown = json.loads(page.locator("details pre").inner_text())
    assert [subscription["displayName"] for subscription in shown] == [
        "Contoso Production",
        "Contoso Development",
        "Contoso Sandbox",
        "Contoso Archive",
    ]

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{demo.ui}/account/signed-out")
    page.go_back()
    expect(page.get_by_text("Contoso Production")).to_have_count(0)

    sign_in(page, demo.ui, "Bob Brown")
    accept(page)
    expect(page.get_by_role("heading", name=re.compile("subscriptions"))).to_be_visible()
    expect(page.get_by_role("table", name="Your subscriptions")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{demo.ui}/account/signed-out")

    page.goto(demo.front)  # its buttons work wherever the mock runs, in a container too
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_text("the journey is empty")).to_have_count(1)
