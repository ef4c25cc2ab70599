"""Sessions in Redis: shared by instances, encrypted, and lost without harm."""

import json
import os
import pickle
import re
import signal
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from tests.apps import ONE_WORKER, App, Apps, free_ports
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def apps_with_redis(one_azure, one_pair_of_apps, one_redis) -> Iterator[Apps]:
    ui = ONE_WORKER | {"REDIS_URL": one_redis.url}
    with Apps(one_azure, ui_settings=ui, api=one_pair_of_apps.api) as apps:
        yield apps


@pytest.fixture
def apps(azure, redis, apps_with_redis) -> Apps:
    """Both apps, the UI with its sessions in Redis."""
    return apps_with_redis


@pytest.fixture(scope="module")
def second_ui(apps_with_redis: Apps) -> Iterator[App]:
    """Another instance of the UI, with the same settings."""
    ui = App("DjangoUI", "UI.wsgi", apps_with_redis.ui.settings, *free_ports(1))
    ui.start()
    yield ui
    ui.stop()
    ui.log.unlink()


def test_two_instances_know_the_same_users(apps, second_ui, azure):
    alice = Visitor(apps.ui.url).sign_in("alice")
    elsewhere = alice.another_tab()
    elsewhere.ui = second_ui.url
    assert elsewhere.open().names == alice.names
    assert len(azure.requests("authorize")) == 1
    elsewhere.press()
    alice.wait_a_little().open()  # with her cookies of before, so Entra has to be asked again
    assert len(azure.requests("authorize")) == 2


def test_a_sign_in_can_end_at_another_instance(apps, second_ui):
    alice = Visitor(second_ui.url).open()  # whose redirect URI is that of the first
    alice.answer("alice")
    assert alice.page.url == f"{apps.ui.url}/"
    assert alice.names[0] == "Contoso Production"


def test_a_restart_signs_nobody_out(apps, redis, azure):
    alice = Visitor(apps.ui.url).sign_in("alice")
    apps.ui.stop()
    redis.stop()
    redis.start()
    apps.ui.start()
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1


def test_no_token_can_be_read_in_redis(apps, redis):
    Visitor(apps.ui.url).sign_in("alice")
    client = Client.from_url(redis.url)
    keys = client.keys()
    assert len(keys) == 1
    kept = client.get(keys[0])
    assert 0 < client.ttl(keys[0]) <= 8 * 3600
    client.close()
    assert b"token_cache" in kept
    # A JWT has dots. Encrypted text may hold the letters eyJ by chance, but never a dot.
    assert not re.search(rb"eyJ[\w-]+\.|refresh_token|secret|Contoso Production", kept)


def test_nothing_planted_in_redis_is_executed(apps, redis, tmp_path):
    """Django's default serializer for caches would unpickle it and run its code."""

    class Planted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made-by-a-stranger"),)

    alice = Visitor(apps.ui.url).sign_in("alice")
    client = Client.from_url(redis.url)
    (key,) = client.keys()
    assert "token_cache" in json.loads(client.get(key))
    client.set(key, pickle.dumps(Planted()))
    client.close()
    assert alice.open().page.status_code == 500
    assert not (tmp_path / "made-by-a-stranger").exists()


@pytest.mark.parametrize(
    ("how", "paths"),
    [
        pytest.param(signal.SIGTERM, ("/", "/account/signed-out", "/account/logout"), id="stopped"),
        pytest.param(signal.SIGSTOP, ("/",), id="hung"),  # the app waits for its answer
    ],
)
def test_without_redis_there_is_a_page_and_afterwards_the_list(apps, redis, azure, how, paths):
    alice = Visitor(apps.ui.url).sign_in("alice")
    cookies = alice.session.cookies.copy()
    redis.send(how)
    os.waitid(os.P_PID, redis.process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    for path in paths:
        assert alice.open(path).reads == (503, "This app cannot remember who is signed in")
    assert alice.session.cookies == cookies
    assert alice.open("/health").page.status_code == 200
    redis.stop()
    redis.start()
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1
