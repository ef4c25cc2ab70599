"""Django's cache sessions, changed so that users stay signed in when Redis is briefly down."""

from typing import Any

from django.contrib.sessions.backends import cache


class SessionStore(cache.SessionStore):
    def load(self) -> dict[str, Any]:
        # Django treats any error as an empty session, so a short outage would delete the session
        # cookie of each user who sends a request.
        session: dict[str, Any] | None = self._cache.get(self.cache_key)  # type: ignore[attr-defined]
        if session is None:
            self._session_key = None
        return session or {}
