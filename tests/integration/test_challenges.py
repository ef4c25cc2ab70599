"""Policies, revoked sessions and refused consent, from the user's side.

Each test counts the rounds to Entra: whatever refuses, none goes on by itself.
"""

import json

import pytest

from tests.visitor import Visitor


@pytest.fixture
def alice(visitor) -> Visitor:
    return visitor()


def sign_in(person: Visitor, name: str = "alice") -> Visitor:
    """Choose the account and accept; there must be no other page."""
    return person.open().press(user=name).press(decision="accept")


def sees_the_list(person: Visitor) -> bool:
    return person.page.url == f"{person.ui}/" and person.names[0] == "Contoso Production"


def is_told(person: Visitor, heading: str) -> bool:
    return person.reads[1].startswith(heading)


def come_back_later(person: Visitor) -> None:
    """Visit with only the cookies of Entra's site, as after the app's eight hours."""
    for name in person.session.cookies.get_dict():
        if not name.startswith("mockazure"):
            person.session.cookies.set(name, None)
    person.open()


def rounds(azure) -> int:
    return len(azure.requests("authorize"))


@pytest.fixture
def mfa_for_alice(azure, alice):
    """A policy that requires a second factor from Alice."""
    azure.policies.add("mfa", "alice")
    sign_in(alice)
    assert is_told(alice, "Approve this sign-in")


def test_a_policy_sends_the_user_through_the_second_factor_and_back(azure, alice):
    sign_in(alice)
    assert sees_the_list(alice)
    azure.policies.add("mfa", "alice")
    come_back_later(alice)  # Entra remembers the user; the API's exchange meets the policy
    assert is_told(alice, "Approve this sign-in")
    alice.press(decision="accept")
    assert sees_the_list(alice)
    assert rounds(azure) == 3
    alice.open()
    assert sees_the_list(alice)
    assert rounds(azure) == 3


@pytest.mark.usefixtures("mfa_for_alice")
def test_a_second_factor_that_is_refused_ends_on_a_page_and_can_be_given_later(azure, alice):
    alice.press(decision="cancel")
    assert is_told(alice, "The sign-in was not completed")
    assert rounds(azure) == 2
    alice.click("Sign in again")
    assert is_told(alice, "Approve this sign-in")  # what the policy wants is asked for at once
    alice.press(decision="accept")
    assert sees_the_list(alice)
    assert rounds(azure) == 3


@pytest.mark.usefixtures("mfa_for_alice")
def test_a_second_factor_that_does_not_satisfy_ends_on_a_page(azure, alice):
    azure.faults.add("token:on_behalf_of", 50076, times=None)
    alice.press(decision="accept")
    assert is_told(alice, "Another sign-in step is required")
    assert rounds(azure) == 2
    alice.open()
    assert is_told(alice, "Another sign-in step is required")
    assert rounds(azure) == 2


def test_a_policy_that_blocks_ends_on_a_page_and_not_in_a_loop(azure, alice):
    azure.policies.add("block", "alice")
    sign_in(alice)
    assert alice.asks("Conditional Access policy blocks")  # Entra's own page
    alice.click("Go back to DjangoUI")
    assert is_told(alice, "Your organization does not allow this sign-in")
    assert alice.page.url.startswith(f"{alice.ui}/account/problem/")
    assert rounds(azure) == 2
    assert len(azure.requests("token:on_behalf_of")) == 1


def test_revoked_sessions_sign_in_again_and_come_back(azure, alice):
    sign_in(alice)
    assert sees_the_list(alice)
    azure.clock.advance(60)
    azure.revoke_sessions("alice")
    alice.open().press(user="alice")
    assert sees_the_list(alice)
    assert rounds(azure) == 2


def test_an_azure_that_rejects_every_new_sign_in_ends_on_a_page(azure, alice):
    """Each response asks for a sign-in later than the last one, as if clocks differed."""
    sign_in(alice)
    assert sees_the_list(alice)
    later = {"essential": True, "value": str(int(azure.clock.now()) - 5)}
    claims = json.dumps({"access_token": {"nbf": later}})
    challenge = {"claims": claims}
    azure.faults.add(
        "arm:subscriptions", "InvalidAuthenticationToken", details=challenge, times=None
    )
    alice.open()
    assert is_told(alice, "Another sign-in step is required")
    assert rounds(azure) == 2
    alice.open()
    assert is_told(alice, "Another sign-in step is required")


def test_consent_that_is_withdrawn_is_asked_for_again(azure, alice):
    sign_in(alice)
    assert sees_the_list(alice)
    azure.consents.revoke("alice")
    come_back_later(alice)
    alice.press(decision="accept")
    assert sees_the_list(alice)
    assert rounds(azure) == 2


def test_consent_that_the_api_lacks_is_asked_for_once(azure, alice):
    azure.faults.add("token:on_behalf_of", 65001, times=None)
    sign_in(alice)
    assert is_told(alice, "Permissions requested")  # in spite of the consent given just now
    alice.press(decision="accept")
    assert is_told(alice, "An approval is missing")
    assert rounds(azure) == 2
    alice.open()
    assert is_told(alice, "An approval is missing")
    assert rounds(azure) == 2


def test_consent_that_is_refused_ends_on_a_page(azure, alice):
    alice.open().press(user="alice").press(decision="cancel")
    assert is_told(alice, "The sign-in was not completed")
    assert rounds(azure) == 1
    # Entra asks for the account anew.
    alice.click("Sign in again").press(user="alice").press(decision="accept")
    assert sees_the_list(alice)


def test_a_user_who_may_not_consent_learns_whom_to_ask(azure, visitor):
    dave = visitor().open().press(user="dave")
    assert is_told(dave, "An administrator must approve this")
    dave.click("Go back to DjangoUI")
    assert is_told(dave, "The sign-in was not completed")
    assert dave.page.url.startswith(f"{dave.ui}/account/problem/")
    assert dave.asks("administrator")
    assert rounds(azure) == 1
    # As somebody else.
    dave.click("Sign in again").press(user="alice").press(decision="accept")
    assert sees_the_list(dave)


def test_a_user_who_may_not_consent_can_use_another_account(azure, visitor):
    dave = visitor().open().press(user="dave")
    dave.open().click("Use another account").press(user="alice").press(decision="accept")
    assert sees_the_list(dave)
