"""Helpers.session and Helpers.redis_sessions."""

from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.utils import timezone

from Helpers import redis_sessions
from Helpers.errors import SignInRequired
from Helpers.session import (
    IDENTITY,
    TRIED,
    PendingSignIn,
    ask_for_sign_in,
    note_success,
    pending_sign_in,
    start_session,
)

ALICE = {"oid": "1", "tid": "2", "name": "Alice", "username": "alice", "logout_hint": ""}


@pytest.fixture
def session(db: None) -> SessionStore:
    session = SessionStore()
    start_session(session, ALICE, "sealed", [])
    session.save()
    return session


class TestStart:
    def test_leaves_nothing_of_another_user(self, session):
        old_key = session.session_key
        session["left"] = "over"
        start_session(session, ALICE | {"name": "Bob"}, "sealed", [])
        session.save()
        assert "left" not in session
        assert session[IDENTITY]["name"] == "Bob"
        assert session.session_key != old_key
        assert not SessionStore().exists(old_key)

    def test_sets_an_expiry_that_use_does_not_extend(self, session, monkeypatch):
        later = timezone.now() + timedelta(hours=7, minutes=59)
        monkeypatch.setattr("django.utils.timezone.now", lambda: later)
        session["used"] = True
        session.save()
        assert 0 < session.get_expiry_age() <= 60
        monkeypatch.setattr("django.utils.timezone.now", lambda: later + timedelta(minutes=2))
        assert IDENTITY not in SessionStore(session.session_key)

    def test_deletes_expired_sessions(self, session):
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        start_session(SessionStore(), ALICE, "sealed", [])
        assert not Session.objects.exists()


class TestRounds:
    def test_allow_one_sign_in_for_each_cause(self, session):
        session[TRIED] = ["no_token", "token_expired", "session_ended"]
        for code in session[TRIED]:
            assert not ask_for_sign_in(session, SignInRequired(code))
        assert ask_for_sign_in(session, SignInRequired("claims_challenge", claims="{}"))
        assert pending_sign_in(session) == PendingSignIn("claims_challenge", "{}", "alice")

    def test_restart_after_a_success(self, session):
        session[TRIED] = ["token_expired"]
        ask_for_sign_in(session, SignInRequired("no_token"))
        note_success(session)
        assert pending_sign_in(session) is None
        assert ask_for_sign_in(session, SignInRequired("token_expired"))

    def test_change_nothing_if_no_sign_in_was_requested(self, session):
        assert pending_sign_in(session) is None
        session.modified = False
        note_success(session)
        assert not session.modified


class TestRedis:
    @pytest.fixture
    def store(self, settings) -> redis_sessions.SessionStore:
        """Sessions in Django's cache API, with a cache in memory instead of Redis."""
        backend = "django.core.cache.backends.locmem.LocMemCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "tests"}}
        return redis_sessions.SessionStore()

    def test_keep_a_session(self, store):
        start_session(store, ALICE, "sealed", [])
        store.save()
        assert redis_sessions.SessionStore(store.session_key)[IDENTITY] == ALICE

    def test_do_not_load_a_flushed_session(self, store):
        start_session(store, ALICE, "sealed", [])
        store.save()
        old_key = store.session_key
        store.flush()
        again = redis_sessions.SessionStore(old_key)
        assert again.is_empty() or IDENTITY not in again
        assert again.session_key is None

    def test_do_not_sign_users_out_during_an_outage(self, store, monkeypatch):
        start_session(store, ALICE, "sealed", [])
        store.save()
        again = redis_sessions.SessionStore(store.session_key)

        def fail(*args, **kwargs):
            raise ConnectionError("Redis is gone")

        monkeypatch.setattr(caches["default"], "get", fail)
        with pytest.raises(ConnectionError):
            again.get(IDENTITY)
