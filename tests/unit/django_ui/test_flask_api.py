"""Helpers.flask_api: one session for all threads, and the right token in each call."""

import json
from concurrent.futures import ThreadPoolExecutor

from Helpers.flask_api import list_subscriptions

THREADS, CALLS = 16, 400


def test_each_call_sends_its_own_users_token(settings, network, eager_switching):
    """A token in ``session.headers``, which threads share, would show another user's list."""

    def list_of_the_tokens_owner(request):
        name = request.headers["Authorization"].removeprefix("Bearer ")
        return 200, {}, json.dumps({"value": [{"displayName": name}]})

    network.add_callback("GET", settings.FLASK_BACKEND_URL, list_of_the_tokens_owner)

    def owner_of_list(token):
        return list_subscriptions(token, "an-id").subscriptions[0]["displayName"]

    tokens = [f"token-{number}" for number in range(CALLS)]
    with ThreadPoolExecutor(THREADS) as threads:
        owners = list(threads.map(owner_of_list, tokens))
    assert owners == tokens
