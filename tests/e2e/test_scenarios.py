"""Each scenario of the mock's front page does in the demo what its text says."""

import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest

from tests.e2e.conftest import Demo
from tests.mock_azure.scenarios import SCENARIOS
from tests.visitor import Visitor


class Learner(Visitor):
    """A user who has signed in to the demo and follows the front page."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(demo.ui)
        self.demo = demo

    def switch_on(self, name: str) -> None:
        self.open(self.demo.front).press(f"/scenarios/{name}", switch="on")
        scenario = re.search(rf'<section [^>]*id="{name}".*?</section>', self.page.text, re.S)
        assert scenario
        assert 'class="state"' in scenario[0]

    def sign_out_and_in(self, name: str = "alice") -> None:
        self.open("/account/logout").press()
        self.choose(name)

    def choose(self, name: str = "alice") -> None:
        """Sign in as a user, and accept if Entra asks for consent."""
        self.open().press(user=name)
        if self.asks("Permissions requested"):
            self.press(decision="accept")

    def approve(self) -> None:
        self.is_told("Approve this sign-in")
        self.press(decision="accept")

    def is_told(self, heading: str) -> None:
        assert self.reads[1].startswith(heading)

    def sees_the_list(self) -> None:
        assert self.names[0] == "Contoso Production"

    def journey_says(self, *titles: str) -> None:
        """Check the journey: the last steps with these titles are in this order."""
        self.open(f"{self.demo.front}/journey")
        told = [unescape(title) for title in re.findall("<summary><strong>(.*?)</", self.page.text)]
        last = [len(told) - 1 - told[::-1].index(title) for title in titles if title in told]
        assert (len(last), sorted(last)) == (len(titles), last), told


@pytest.fixture
def learner(demo: Demo) -> Iterator[Learner]:
    learner = Learner(demo)
    learner.choose()
    learner.sees_the_list()
    yield learner
    demo.reset()


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
    learner.open()
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
    learner.is_told("A policy blocks this sign-in")
    assert learner.asks("belongs to FlaskAPI")
    learner.click("Go back to DjangoUI")
    learner.is_told("Your organization does not allow this sign-in")
    learner.click("See every step that led here")
    learner.is_told("No request reached Azure")
    learner.click("Alice did not sign in: blocked by policy")
    learner.journey_says("Alice did not sign in: blocked by policy")


def session_revoked(learner: Learner) -> None:
    learner.choose()  # loading the page leads to the sign-in page
    learner.sees_the_list()
    learner.journey_says(
        "Resource Manager refused the list: token B is not enough",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "Entra refused to renew token A: the session was revoked",
        "FlaskAPI listed 4 subscriptions with token B",
    )


def consent_withdrawn(learner: Learner) -> None:
    learner.open()
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
        "You rolled over the signing key",
        "FlaskAPI downloaded the signing keys",
        "FlaskAPI exchanged token A for token B",
    )


def short_tokens(learner: Learner) -> None:
    learner.sign_out_and_in()
    learner.sees_the_list()
    learner.open()
    learner.sees_the_list()
    learner.journey_says("DjangoUI renewed token A", "FlaskAPI exchanged token A for token B")


def secret_expired(learner: Learner) -> None:
    learner.open()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.is_told("The API is not set up correctly")
    learner.journey_says("Entra refused the exchange: the client secret has expired")


def entra_throttles_user(learner: Learner) -> None:
    learner.sign_out_and_in("alice")
    learner.is_told("Microsoft Entra ID is busy")
    assert learner.asks("Try again in 30 seconds")
    learner.open()  # FlaskAPI does not ask Entra now, and the page's link says so
    learner.is_told("Microsoft Entra ID is busy")
    learner.click("See every step that led here")
    learner.is_told("No request reached Azure")
    learner.click("Entra refused the exchange: too many requests")
    learner.sign_out_and_in("carol")
    learner.approve()
    learner.sees_the_list()


def entra_throttles_everybody(learner: Learner) -> None:
    learner.open()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.is_told("Microsoft Entra ID is busy")
    learner.journey_says("Entra refused the exchange: too many requests")


def entra_away(learner: Learner) -> None:
    learner.open()
    learner.sees_the_list()
    learner.sign_out_and_in()
    learner.is_told("Microsoft Entra ID cannot be reached")
    learner.journey_says("Microsoft Entra ID did not answer DjangoUI")


def arm_slow(learner: Learner) -> None:
    learner.open()
    learner.is_told("Azure took too long")
    learner.journey_says("FlaskAPI gave up waiting for Azure Resource Manager")


def arm_away(learner: Learner) -> None:
    learner.open()
    learner.is_told("Azure had an error")
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
def test_the_scenario_does_what_it_says(learner: Learner, walk: Callable[[Learner], None]) -> None:
    learner.switch_on(name_of(walk))
    walk(learner)


def test_every_scenario_has_a_walk() -> None:
    assert [name_of(walk) for walk in WALKS] == list(SCENARIOS)


def test_the_second_load_is_served_from_the_cache(learner: Learner) -> None:
    for _ in range(3):
        learner.open()
        assert learner.asks("Cache hit")
    learner.journey_says(
        "FlaskAPI exchanged token A for token B",
        "Not needed: FlaskAPI’s token B was still valid",
        "FlaskAPI listed 4 subscriptions with the same token B",
    )
