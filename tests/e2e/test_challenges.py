"""Policies, revoked sessions and refused consent, as the user meets them in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.apps import Apps
from tests.mock_azure import MockAzure


@pytest.fixture(scope="module")
def one_azure() -> Iterator[MockAzure]:
    with MockAzure(front_host="127.0.0.1") as azure:
        yield azure


@pytest.fixture(scope="module")
def apps(one_azure: MockAzure) -> Iterator[Apps]:
    with Apps(one_azure) as apps:
        yield apps


@pytest.fixture
def azure(one_azure: MockAzure) -> MockAzure:
    one_azure.reset()
    return one_azure


def sign_in(page: Page, apps: Apps, name: str = "Alice") -> None:
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile(name)).click()
    page.get_by_role("button", name="Accept").click()


def sees_the_list(page: Page) -> None:
    expect(page.get_by_role("table", name="Your subscriptions")).to_contain_text(
        "Contoso Production"
    )


def test_a_policy_sends_the_user_through_the_second_factor_and_back(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page)
    azure.policies.add("mfa", "alice")
    page.context.clear_cookies(name="subscriptions_session")
    page.goto(apps.ui.url)  # Entra remembers the user; the API's exchange meets the policy
    expect(page.get_by_role("heading", name=re.compile("Approve this sign-in"))).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page).to_have_url(f"{apps.ui.url}/")
    sees_the_list(page)
    page.reload()
    sees_the_list(page)


def test_a_second_factor_that_is_refused_ends_on_a_page(azure, apps, page: Page):
    azure.policies.add("mfa", "alice")
    sign_in(page, apps)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading")).to_be_visible()
    assert page.url.startswith(apps.ui.url)
    expect(page.get_by_role("table", name="Your subscriptions")).to_have_count(0)
    assert len(azure.requests("authorize")) <= 3


def test_a_policy_that_blocks_ends_on_a_page_and_not_in_a_loop(azure, apps, page: Page):
    azure.policies.add("block", "alice")
    sign_in(page, apps)
    page.wait_for_load_state()
    expect(page.get_by_role("table", name="Your subscriptions")).to_have_count(0)
    assert len(azure.requests("authorize")) <= 3
    assert len(azure.requests("token:on_behalf_of")) <= 4


def test_revoked_sessions_sign_in_again(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page)
    azure.clock.advance(60)
    azure.revoke_sessions("alice")
    page.reload()
    page.get_by_role("button", name=re.compile("Alice")).click()
    expect(page).to_have_url(f"{apps.ui.url}/")
    sees_the_list(page)


def test_consent_that_is_withdrawn_is_asked_for_again(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page)
    azure.consents.revoke("alice")
    page.context.clear_cookies(name="subscriptions_session")
    page.goto(apps.ui.url)
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page)


def test_consent_that_is_refused_ends_on_a_page(azure, apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Alice")).click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name=re.compile("not completed"))).to_be_visible()
    assert len(azure.requests("authorize")) == 1


def test_a_user_who_may_not_consent_learns_whom_to_ask(azure, apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Dave")).click()
    expect(page.get_by_role("heading", name=re.compile("administrator"))).to_be_visible()
    page.get_by_role("link").first.click()
    assert page.url.startswith(apps.ui.url)
    expect(page.get_by_role("table", name="Your subscriptions")).to_have_count(0)


def test_a_double_click_and_the_back_button_do_no_harm(azure, apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Alice")).dblclick()
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page)
    page.evaluate("history.back()")
    page.wait_for_timeout(500)
    page.goto(apps.ui.url)
    sees_the_list(page)


def test_two_tabs_sign_in_side_by_side(azure, apps, page: Page):
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(apps.ui.url)
    for tab in (page, other):
        tab.get_by_role("button", name=re.compile("Alice")).click()
        if tab.get_by_role("button", name="Accept").count():
            tab.get_by_role("button", name="Accept").click()
        sees_the_list(tab)
