"""Policies, revoked sessions and refused consent, as the user meets them in a browser.

Each test counts the rounds to Entra: whatever refuses, none goes on by itself.
"""

import json
import re

import pytest
from playwright.sync_api import Page, expect


def sign_in(page: Page, apps, name: str = "Alice") -> None:
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile(name)).click()
    page.get_by_role("button", name="Accept").click()


def sees_the_list(page: Page, apps) -> None:
    expect(page).to_have_url(f"{apps.ui.url}/")
    expect(page.get_by_role("table", name="Your subscriptions")).to_contain_text(
        "Contoso Production"
    )


def reads(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(heading))


def come_back_later(page: Page, apps) -> None:
    """Visit with the cookies of Entra's site (127.0.0.1) alone, as after this app's eight hours."""
    page.context.clear_cookies(domain="localhost")
    page.goto(apps.ui.url)


def rounds(azure) -> int:
    return len(azure.requests("authorize"))


@pytest.fixture
def mfa_for_alice(azure, apps, page: Page):
    """A policy that asks for a second factor, which Alice meets on her way."""
    azure.policies.add("mfa", "alice")
    sign_in(page, apps)
    reads(page, "Approve this sign-in")


def test_a_policy_sends_the_user_through_the_second_factor_and_back(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page, apps)
    azure.policies.add("mfa", "alice")
    come_back_later(page, apps)  # Entra remembers the user; the API's exchange meets the policy
    reads(page, "Approve this sign-in")
    page.get_by_role("button", name="Approve").click()
    sees_the_list(page, apps)
    assert rounds(azure) == 3
    page.reload()
    sees_the_list(page, apps)
    assert rounds(azure) == 3


@pytest.mark.usefixtures("mfa_for_alice")
def test_a_second_factor_that_is_refused_ends_on_a_page_and_can_be_given_later(
    azure, apps, page: Page
):
    page.get_by_role("button", name="Cancel").click()
    reads(page, "The sign-in was not completed")
    assert rounds(azure) == 2
    page.get_by_role("link", name="Sign in again").click()
    reads(page, "Approve this sign-in")  # what the policy wants is asked for at once
    page.get_by_role("button", name="Approve").click()
    sees_the_list(page, apps)
    assert rounds(azure) == 3


@pytest.mark.usefixtures("mfa_for_alice")
def test_a_second_factor_that_does_not_satisfy_ends_on_a_page(azure, apps, page: Page):
    azure.faults.add("token:on_behalf_of", 50076, times=None)
    page.get_by_role("button", name="Approve").click()
    reads(page, "Your organization asks for more")
    assert rounds(azure) == 2
    page.reload()
    reads(page, "Your organization asks for more")
    assert rounds(azure) == 2


def test_a_policy_that_blocks_ends_on_a_page_and_not_in_a_loop(azure, apps, page: Page):
    azure.policies.add("block", "alice")
    sign_in(page, apps)
    expect(page.get_by_text("Conditional Access policy blocks")).to_be_visible()  # Entra's own page
    page.get_by_role("link").first.click()
    reads(page, "Your organization does not allow this sign-in")
    assert page.url.startswith(f"{apps.ui.url}/account/problem/")
    assert rounds(azure) == 2
    assert len(azure.requests("token:on_behalf_of")) == 1


def test_revoked_sessions_sign_in_again_and_come_back(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page, apps)
    azure.clock.advance(60)
    azure.revoke_sessions("alice")
    page.reload()
    page.get_by_role("button", name=re.compile("Alice")).click()
    sees_the_list(page, apps)
    assert rounds(azure) == 2


def test_an_azure_that_is_never_content_with_a_new_sign_in_ends_on_a_page(azure, apps, page: Page):
    """As when clocks differ: each answer asks for a sign-in later than the latest."""
    sign_in(page, apps)
    sees_the_list(page, apps)
    later = {"essential": True, "value": str(int(azure.clock.now()) - 5)}
    claims = json.dumps({"access_token": {"nbf": later}})
    challenge = {"claims": claims}
    azure.faults.add(
        "arm:subscriptions", "InvalidAuthenticationToken", details=challenge, times=None
    )
    page.reload()
    reads(page, "Your organization asks for more")
    assert rounds(azure) == 2
    page.reload()
    reads(page, "Your organization asks for more")


def test_consent_that_is_withdrawn_is_asked_for_again(azure, apps, page: Page):
    sign_in(page, apps)
    sees_the_list(page, apps)
    azure.consents.revoke("alice")
    come_back_later(page, apps)
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page, apps)
    assert rounds(azure) == 2


def test_consent_that_the_api_lacks_is_asked_for_once(azure, apps, page: Page):
    azure.faults.add("token:on_behalf_of", 65001, times=None)
    sign_in(page, apps)
    reads(page, "Permissions requested")  # in spite of the consent given just now
    page.get_by_role("button", name="Accept").click()
    reads(page, "An approval is missing")
    assert rounds(azure) == 2
    page.reload()
    reads(page, "An approval is missing")
    assert rounds(azure) == 2


def test_consent_that_is_refused_ends_on_a_page(azure, apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Alice")).click()
    page.get_by_role("button", name="Cancel").click()
    reads(page, "The sign-in was not completed")
    assert rounds(azure) == 1
    page.get_by_role("link", name="Sign in again").click()
    page.get_by_role("button", name=re.compile("Alice")).click()  # Entra asks for the account anew
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page, apps)


def test_a_user_who_may_not_consent_learns_whom_to_ask(azure, apps, page: Page):
    page.goto(apps.ui.url)
    page.get_by_role("button", name=re.compile("Dave")).click()
    expect(page.get_by_role("heading", name=re.compile("administrator"))).to_be_visible()
    page.get_by_role("link").first.click()
    reads(page, "The sign-in was not completed")
    assert page.url.startswith(f"{apps.ui.url}/account/problem/")
    expect(page.locator("main")).to_contain_text("administrator")
    assert rounds(azure) == 1
    page.get_by_role("link", name="Sign in again").click()  # as somebody else
    page.get_by_role("button", name=re.compile("Alice")).click()
    page.get_by_role("button", name="Accept").click()
    sees_the_list(page, apps)
