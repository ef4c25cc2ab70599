"""The machine's clock can change while the API runs; only the times in tokens depend on it."""

import sys
import time
from datetime import timedelta

import pytest
import requests

OURS = ("main", "blueprints", "views", "helpers")
HOURS_FORWARD = 26  # more than keys are used without a refresh


@pytest.fixture
def clock(monkeypatch):
    """Return a function that sets the machine's clock forward for the API's modules."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            monkeypatch.delitem(sys.modules, name)
    true_time, hours = time.time, [0]
    monkeypatch.setattr(time, "time", lambda: true_time() + hours[0] * 3600)

    def set_forward(by_hours):
        hours[0] = by_hours

    return set_forward


@pytest.fixture
def api(clock, settings_of_api):
    from main import create_app

    return create_app(settings_of_api).test_client()


def test_setting_the_clock_expires_neither_keys_nor_cached_tokens(tenant, api, clock):
    tenant.lists("first")
    # Valid before and after.
    times = {"iat": timedelta(hours=-1), "exp": timedelta(hours=HOURS_FORWARD + 1)}
    headers = {"Authorization": f"Bearer {tenant.access_token(**times)}"}
    assert api.get("/subscriptions", headers=headers).status_code == 200
    tenant.network.replace(
        "GET", tenant.discovery_url, body=requests.ConnectionError("Entra is down")
    )
    for hours in (HOURS_FORWARD, 0):
        clock(hours)
        assert api.get("/subscriptions", headers=headers).status_code == 200
    assert len(tenant.requests) == 1
