"""Each scenario of the mock's front page, as its own words tell it, with the demo and a browser."""

import re
from collections.abc import Callable, Iterator

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.mock_azure.scenarios import SCENARIOS


class Learner:
    """Somebody who has signed in to the demo and does what the front page says."""

    def __init__(self, page: Page, demo) -> None:
        self.page, self.demo = page, demo

    def switch_on(self, name: str) -> None:
        self.page.goto(f"{self.demo.front}/#scenarios")
        scenario = self.page.locator(f"#{name}")
        scenario.get_by_role("button").click()
        expect(scenario.locator(".state")).to_be_visible()

    def sign_in(self, name: str = "Alice") -> None:
        self.page.goto(self.demo.ui)
        self.page.get_by_role("button", name=re.compile(name)).click()
        accept = self.page.get_by_role("button", name="Accept")
        if accept.is_visible():
            accept.click()

    def sign_out_and_in(self, name: str = "Alice") -> None:
        self.page.goto(f"{self.demo.ui}/account/logout")
        self.page.get_by_role("main").get_by_role("button", name="Sign out").click()
        self.sign_in(name)

    def load_again(self) -> None:
        self.page.goto(self.demo.ui)

    def approve(self) -> None:
        self.reads("Approve this sign-in")
        self.page.get_by_role("button", name="Approve").click()

    def follow(self, link: str) -> None:
        self.page.get_by_role("link", name=link).click()

    def reads(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(re.compile(heading))

    def sees_the_list(self) -> None:
        table = self.page.get_by_role("table", name="Your subscriptions")
        expect(table).to_contain_text("Contoso Production")

    def journey_says(self, *titles: str) -> None:
        """Look at the journey: the last step with each title, in this order."""
        self.page.goto(f"{self.demo.front}/journey")
        told = self.page.locator("summary strong").all_inner_texts()
        last = [len(told) - 1 - told[::-1].index(title) for title in titles if title in told]
        assert (len(last), sorted(last)) == (len(titles), last), told


@pytest.fixture
def learner(page: Page, demo) -> Iterator[Learner]:
    learner = Learner(page, demo)
    learner.sign_in()
    learner.sees_the_list()
    yield learner
    requests.post(f"{demo.front}/controls/reset", timeout=5).raise_for_status()


def second_factor(learner: Learner) -> None:
    learner.sign_out_and_in()
    learner.approve()
    learner.sees_the_list()
    learner.journey_says(
        "Entra refused the exchange: second factor needed",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "Alice approved the second factor: Entra issued a code",
        "FlaskAPI listed 4 subscriptions with token B",
    )


def arm_step_up(learner: Learner) -> None:
    learner.load_again()
    learner.approve()
    learner.sees_the_list()
    learner.journey_says(
        "Resource Manager refused the list: token B is not enough",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "Alice approved the second factor: Entra issued a code",
        "FlaskAPI listed 4 subscriptions with token B",
    )


def sign_in_blocked(learner: Learner) -> None:
    learner.sign_out_and_in()
    learner.reads("A policy blocks this sign-in")
    expect(learner.page.get_by_role("main")).to_contain_text("belongs to FlaskAPI")
    learner.page.get_by_role("link").first.click()
    learner.reads("Your organization does not allow this sign-in")
    learner.follow("See every step")
    learner.reads("Azure was not asked")
    learner.follow("Alice did not sign in: blocked by policy")
    learner.journey_says("Alice did not sign in: blocked by policy")


def session_revoked(learner: Learner) -> None:
    learner.sign_in()  # loading the page leads to the sign-in page
    learner.sees_the_list()
    learner.journey_says(
        "Resource Manager refused the list: token B is not enough",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "Entra refused to renew token A: the session was revoked",
        "FlaskAPI listed 4 subscriptions with token B",
    )


def consent_withdrawn(learner: Learner) -> None:
    learner.load_again()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.sees_the_list()
    learner.journey_says(
        "FlaskAPI listed 4 subscriptions with the same token B",
        "Alice consented: Entra issued a code",
        "FlaskAPI listed 4 subscriptions with token B",
    )


def key_rollover(learner: Learner) -> None:
    learner.sign_out_and_in()
    learner.sees_the_list()
    learner.journey_says(
        "You did: Signing key rolled over",
        "FlaskAPI downloaded the signing keys",
        "FlaskAPI exchanged token A for token B",
    )


def short_tokens(learner: Learner) -> None:
    learner.sign_out_and_in()
    learner.sees_the_list()
    learner.load_again()
    learner.sees_the_list()
    learner.journey_says("DjangoUI renewed token A", "FlaskAPI exchanged token A for token B")


def secret_expired(learner: Learner) -> None:
    learner.load_again()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.reads("The API is not set up correctly")
    learner.journey_says("Entra refused the exchange: the client secret has expired")


def entra_throttles_user(learner: Learner) -> None:
    learner.sign_out_and_in("Alice")
    learner.reads("Microsoft Entra ID is busy")
    expect(learner.page.get_by_text("Try again in 30 seconds")).to_be_visible()
    learner.load_again()  # FlaskAPI does not ask Entra now, and the page's link says so
    learner.reads("Microsoft Entra ID is busy")
    learner.follow("See every step")
    learner.reads("Azure was not asked")
    learner.follow("Entra refused the exchange: too many requests")
    learner.sign_out_and_in("Carol")
    learner.approve()
    learner.sees_the_list()


def entra_throttles_everybody(learner: Learner) -> None:
    learner.load_again()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.reads("Microsoft Entra ID is busy")
    learner.journey_says("Entra refused the exchange: too many requests")


def entra_away(learner: Learner) -> None:
    learner.load_again()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.reads("Microsoft Entra ID cannot be reached")
    learner.journey_says("Microsoft Entra ID did not answer DjangoUI")


def arm_slow(learner: Learner) -> None:
    learner.load_again()
    learner.reads("Azure took too long")
    learner.journey_says("FlaskAPI gave up waiting for Azure Resource Manager")


def arm_away(learner: Learner) -> None:
    learner.load_again()
    learner.reads("Azure had an error")
    learner.journey_says("Azure Resource Manager did not answer FlaskAPI, in 3 attempts")


WALKS = [
    second_factor,
    arm_step_up,
    sign_in_blocked,
    session_revoked,
    consent_withdrawn,
    key_rollover,
    short_tokens,
    secret_expired,
    entra_throttles_user,
    entra_throttles_everybody,
    entra_away,
    arm_slow,
    arm_away,
]


def name_of(walk: Callable[[Learner], None]) -> str:
    return walk.__name__.replace("_", "-")


@pytest.mark.parametrize("walk", WALKS, ids=name_of)
def test_scenario(learner: Learner, walk: Callable[[Learner], None]) -> None:
    learner.switch_on(name_of(walk))
    walk(learner)


def test_no_scenario_is_without_its_walk() -> None:
    assert [name_of(walk) for walk in WALKS] == list(SCENARIOS)


def test_the_second_load_is_served_from_the_cache(learner: Learner) -> None:
    learner.load_again()
    learner.journey_says(
        "FlaskAPI exchanged token A for token B",
        "Not asked: FlaskAPI’s token B was still good",
        "FlaskAPI listed 4 subscriptions with the same token B",
    )
