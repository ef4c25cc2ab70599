"""Scenarios: failures to try. Each consists of a few calls of the controls that tests use.

A scenario is a context manager, on while it is entered. Its docstring is the text of the front
page: the title, then what to do, what to expect, and why.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from inspect import getdoc
from typing import TYPE_CHECKING, Any

from .consents import EVERYBODY
from .directory import Json

if TYPE_CHECKING:
    from .azure import MockAzure

Scenario = Callable[["MockAzure", str], AbstractContextManager[None]]

RETRY_AFTER = {"Retry-After": "30"}
# These can't be switched off.
HAPPEN_ONCE = {"consent-withdrawn", "key-rollover", "session-revoked"}
SCENARIOS: dict[str, Scenario] = {}


def scenario(switch: Callable[..., Iterator[None]]) -> Scenario:
    """Register ``switch(azure, user)`` under its own name, with dashes."""
    SCENARIOS[switch.__name__.replace("_", "-")] = entered = contextmanager(switch)
    return entered


@scenario
def second_factor(azure: "MockAzure", user: str) -> Iterator[None]:
    """Second factor needed

    Sign out of DjangoUI, then sign in again as Alice.

    You sign in as usual. Then Entra asks you to approve a second factor, and the list appears.

    A Conditional Access policy protects Azure Resource Manager, not DjangoUI. So the sign-in
    succeeds, but Entra refuses to exchange token A for token B (AADSTS50076) and names what is
    missing in a claims challenge. FlaskAPI has no browser, so it passes the challenge to
    DjangoUI, which sends you back to Entra.
    """
    policy = azure.policies.add("mfa")
    yield
    azure.policies.remove(policy)


@scenario
def arm_step_up(azure: "MockAzure", user: str) -> Iterator[None]:
    """Resource Manager asks for step-up

    Load DjangoUI's page again.

    Entra asks you to approve a second factor, and the list appears.

    Here the resource decides, not the exchange: Resource Manager accepts only tokens whose
    ``acrs`` claim (authentication contexts, each a stronger way to sign in) names c1. It rejects
    token B with a claims challenge, which FlaskAPI passes on.
    """
    azure.policies.step_up = "c1"
    yield
    azure.policies.step_up = ""


@scenario
def sign_in_blocked(azure: "MockAzure", user: str) -> Iterator[None]:
    """Sign-in blocked by policy

    Sign out of DjangoUI, then sign in again.

    Entra says that a policy blocks the sign-in. Follow the link back: DjangoUI says that a
    policy blocks the sign-in, and whom to ask. It does not try again.

    This policy protects FlaskAPI. DjangoUI asks for a token to FlaskAPI when you sign in, so
    Entra issues no code. Signing in again does not help; only an administrator can change it.
    """
    policy = azure.policies.add("block", resource=azure.api.client_id)
    yield
    azure.policies.remove(policy)


@scenario
def session_revoked(azure: "MockAzure", user: str) -> Iterator[None]:
    """Session revoked

    Load DjangoUI's page again.

    You have to sign in again. Then the list appears.

    An administrator has revoked your sessions, or you have changed your password. Resource
    Manager learns of it at once (continuous access evaluation) and rejects token B with a claims
    challenge, although token B has not expired. The refresh token is void too.
    """
    azure.revoke_sessions(user)
    yield


@scenario
def consent_withdrawn(azure: "MockAzure", user: str) -> Iterator[None]:
    """Consent withdrawn

    Load DjangoUI's page again. Then sign out and sign in again.

    The page still shows the list. When you sign in again, Entra asks for the permissions again.

    Consent is stored in the tenant and checked when Entra issues a token. Earlier tokens work until
    they expire.
    """
    for who in (*azure.users, EVERYBODY):
        azure.consents.revoke(who)
    yield


@scenario
def key_rollover(azure: "MockAzure", user: str) -> Iterator[None]:
    """Signing key rolled over

    Sign out of DjangoUI, then sign in again.

    The list appears as usual. The journey shows that FlaskAPI downloaded the signing keys again.

    Entra replaces its signing keys regularly. The new token A names a key that FlaskAPI does not
    know, so FlaskAPI downloads the keys once and finds it. Older tokens stay valid.
    """
    azure.keys.publish_next()
    azure.keys.use_next()
    yield


@scenario
def short_tokens(azure: "MockAzure", user: str) -> Iterator[None]:
    """Tokens live two minutes

    Sign out of DjangoUI, then sign in again. Load the page a few times.

    The list appears as usual. The journey shows that both tokens are renewed for each page.

    MSAL renews token A when less than five minutes are left, which is now always. FlaskAPI
    exchanges each new token A, because it caches token B only for the token A it exchanged.
    """
    before = azure.token_lifetime_seconds
    azure.token_lifetime_seconds = (120, 120)
    yield
    azure.token_lifetime_seconds = before


@scenario
def secret_expired(azure: "MockAzure", user: str) -> Iterator[None]:
    """The API's secret expired

    Load DjangoUI's page again. Then sign out and sign in again.

    The page still shows the list. After you sign in again, DjangoUI says that the API is not set
    up correctly.

    FlaskAPI authenticates with its client secret when it exchanges a token. Entra rejects an
    expired secret (AADSTS7000222), and the user can do nothing about it.
    """
    api = azure.applications.get(azure.api.client_id, azure.api)
    expired = tuple(secret._replace(expires_at=0.0) for secret in api.secrets)
    azure.applications[api.client_id] = replace(api, secrets=expired)
    yield
    azure.applications[api.client_id] = api


@scenario
def entra_throttles_user(azure: "MockAzure", user: str) -> Iterator[None]:
    """Entra throttles this user

    Sign out of DjangoUI, then sign in again as the same user. Then try another user.

    DjangoUI says that Entra is busy, and when to try again. The other user sees the list.

    Entra answers this user's exchange with 429 and Retry-After: 30. FlaskAPI honors that: for 30
    seconds it repeats the error for this token A without asking Entra, even after you switch
    this off. No other user gets that error.
    """
    with _faults(azure, "token:on_behalf_of", preset=90055, user=user, headers=RETRY_AFTER):
        yield


@scenario
def entra_throttles_everybody(azure: "MockAzure", user: str) -> Iterator[None]:
    """Entra throttles everybody

    Load DjangoUI's page again. Then sign out and sign in again.

    The page still shows the list. After you sign in again, DjangoUI says that Entra is busy.

    Entra answers every exchange with 429 and Retry-After: 30. A cached token B needs no exchange.
    After you switch this off, FlaskAPI repeats the error until the 30 seconds are over.
    """
    with _faults(azure, "token:on_behalf_of", preset=90055, headers=RETRY_AFTER):
        yield


@scenario
def entra_away(azure: "MockAzure", user: str) -> Iterator[None]:
    """Entra is away

    Load DjangoUI's page again. Then sign out and sign in again.

    The page still shows the list. After you sign in again, DjangoUI says that Entra cannot be
    reached.

    Entra's sign-in pages still work here, but its token endpoint and signing keys do not respond.
    While tokens A and B are cached, neither app needs Entra.
    """
    with _faults(azure, "jwks", "token", drop=True):
        yield


@scenario
def arm_slow(azure: "MockAzure", user: str) -> Iterator[None]:
    """Resource Manager is slow

    Load DjangoUI's page again and wait ten seconds.

    DjangoUI says that Azure took too long.

    Every call has a deadline: FlaskAPI gives up on Resource Manager after ten seconds and answers
    504, while DjangoUI is still waiting for FlaskAPI.
    """
    with _faults(azure, "arm", latency_seconds=15):
        yield


@scenario
def arm_away(azure: "MockAzure", user: str) -> Iterator[None]:
    """Resource Manager is away

    Load DjangoUI's page again.

    DjangoUI says that Azure had an error.

    Resource Manager closes each connection without an answer. FlaskAPI tries three times, because
    reading a list twice does no harm, then answers 502.
    """
    with _faults(azure, "arm", drop=True):
        yield


@contextmanager
def _faults(
    azure: "MockAzure", *hops: str, preset: int | None = None, **how: Any
) -> Iterator[None]:
    faults = [azure.faults.add(hop, preset, times=None, **how) for hop in hops]
    yield
    for fault in faults:
        azure.faults.remove(fault)


class Scenarios:
    """Which scenarios are on, and since when."""

    def __init__(self, azure: "MockAzure") -> None:
        self._azure = azure
        self._on: dict[str, tuple[str, AbstractContextManager[None]]] = {}

    def switch_on(self, name: str, user: str = "alice") -> None:
        """:raises KeyError: if there is no such scenario."""
        self.switch_off(name)
        switch = SCENARIOS[name](self._azure, user)
        switch.__enter__()
        self._on[name] = (self._azure.clock.stamp(), switch)

    def switch_off(self, name: str) -> None:
        """Undo ``switch_on``, if the scenario is on."""
        if name in self._on:
            _, switch = self._on.pop(name)
            switch.__exit__(None, None, None)

    def all(self) -> list[Json]:
        """Return each scenario: ``name``, its texts, ``since`` (empty if off), and ``once``."""
        return [self._described(name, scenario) for name, scenario in SCENARIOS.items()]

    def _described(self, name: str, scenario: Scenario) -> Json:
        parts = (getdoc(scenario) or "").replace("``", "").replace("'", "’").split("\n\n")
        words = [" ".join(part.split()) for part in parts]
        since = self._on[name][0] if name in self._on else ""
        return {
            "name": name,
            **dict(zip(("title", "do", "expect", "why"), words, strict=True)),
            "since": since,
            "once": name in HAPPEN_ONCE,
        }
