"""Django's own cache sessions, except that a store that is gone is not mistaken for signed out."""

from typing import Any

from django.contrib.sessions.backends import cache


class SessionStore(cache.SessionStore):
    def load(self) -> dict[str, Any]:
        # Django's version takes any error for an empty session: an outage of a second would
        # delete the cookies of all users who come by.
        session: dict[str, Any] | None = self._cache.get(self.cache_key)  # type: ignore[attr-defined]
        if session is None:
            self._session_key = None
        return session or {}
