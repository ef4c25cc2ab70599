"""Many users at once, some with errors: nobody sees another user's list or error."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest
import requests

from tests.mock_azure.directory import Subscription, User

THREADS, USERS, ROUNDS = 8, 14, 2  # two users of each trouble
SESSIONS = 2  # access tokens of one user, each from a sign-in of its own
EXCHANGE, ARM = "token:on_behalf_of", "arm:subscriptions"
CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'

# What befalls a user at a hop, and the one status that the user may get for it.
TROUBLES = {
    "none": (ARM, {}, 200),
    "throttled by Entra": (
        EXCHANGE, {"preset": 90055, "headers": {"Retry-After": "60"}, "times": 2}, 503),
    "an error of Entra": (
        EXCHANGE, {"status": 500, "headers": {"Retry-After": "60"}, "times": 10}, 502),
    "Retry-After beside a token": (
        EXCHANGE, {"headers": {"Retry-After": "60"}, "times": None}, 200),
    "throttled by ARM": (ARM, {"preset": "TooManyRequests", "times": 10}, 429),
    "an error of ARM": (ARM, {"preset": "InternalServerError", "times": 10}, 502),
    "a token that was revoked": (
        ARM,
        {"preset": "InvalidAuthenticationToken", "details": {"claims": CLAIMS}, "times": 10},
        401,
    ),
}  # fmt: skip


@pytest.fixture
def users(azure) -> dict[str, str]:
    """Users with one subscription each, and the error that each of them gets."""
    for number in range(USERS):
        user = User(f"User{number}", "Test", "is one of many", (Subscription(f"Of {number}"),))
        azure.users[user.key] = user
    names = [f"user{number}" for number in range(USERS)]
    for name in names:
        azure.consent_all(name)
    return dict(zip(names, cycle(TROUBLES), strict=False))


def ask(session, api, token):
    headers = {"Authorization": f"Bearer {token}"}
    answer = session.get(f"{api.url}/subscriptions", headers=headers, timeout=30)
    names = [subscription["displayName"] for subscription in answer.json().get("value", [])]
    return answer.status_code, names


def test_each_response_is_the_users_own_list_or_error(azure, apps, users):
    faults = []
    for name, trouble in users.items():
        hop, fault, _ = TROUBLES[trouble]
        faults.append(azure.faults.add(hop, user=name, **fault))
    tokens = {name: [azure.access_token(name) for _ in range(SESSIONS)] for name in users}

    def use(thread):
        """Send a request for every user, in a different order in each thread."""
        order = random.Random(thread)
        with requests.Session() as session:
            for number in range(ROUNDS):
                for name in order.sample(sorted(users), USERS):
                    token = tokens[name][number % SESSIONS]
                    yield name, *ask(session, apps.api, token)

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [
            answer
            for of_thread in pool.map(lambda thread: list(use(thread)), range(THREADS))
            for answer in of_thread
        ]

    assert len(answers) == THREADS * USERS * ROUNDS
    foreign = [
        (name, status, names)
        for name, status, names in answers
        if (status, names) != (200, [f"Of {name.removeprefix('user')}"])
        and (status, names) != (TROUBLES[users[name]][2], [])
    ]
    assert foreign == []
    assert Counter(name for name, status, _ in answers if status == 200).keys() == users.keys()
    assert all(fault.used >= (fault.times or 1) for fault in faults)


@pytest.mark.parametrize(
    "trouble",
    ["throttled by Entra", "an error of Entra", "Retry-After beside a token"],
)
def test_one_users_error_does_not_affect_the_next(azure, apps, users, trouble):
    """MSAL's cache of responses ignores the user in this flow, so this API disables it."""
    hop, fault, status = TROUBLES[trouble]
    azure.faults.add(hop, user="user0", **fault)
    with requests.Session() as session:  # one connection, so that one worker answers both
        first = ask(session, apps.api, azure.access_token("user0"))
        assert first[0] == status
        assert ask(session, apps.api, azure.access_token("user1")) == (200, ["Of 1"])
    assert [call.user for call in azure.requests(EXCHANGE)] == ["user0", "user1"]
