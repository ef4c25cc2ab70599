"""Django's cache sessions, but users stay signed in when Redis is temporarily down."""

from typing import Any

from django.contrib.sessions.backends import cache


class SessionStore(cache.SessionStore):
    def load(self) -> dict[str, Any]:
        # Django treats any error as an empty session. A short outage would then delete the
        # session cookie of each user who sends a request.
        session: dict[str, Any] | None = self._cache.get(self.cache_key)  # type: ignore[attr-defined]
        if session is None:
            self._session_key = None
        return session or {}
