"""Opaque strings that only this mock can read: codes, refresh tokens, cookies, form fields.

They contain their data, encrypted, so the mock needs no storage and no cleanup.
"""

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken


class Seals:
    def __init__(self) -> None:
        self._fernet = Fernet(Fernet.generate_key())

    def seal(self, kind: str, **payload: Any) -> str:
        text = json.dumps([kind, payload], separators=(",", ":"))
        return self._fernet.encrypt(text.encode()).decode().rstrip("=")

    def unseal(self, kind: str, text: object) -> dict[str, Any] | None:
        """Return the data that this mock sealed as this ``kind``, or None if it did not."""
        if not isinstance(text, str) or not text.isascii():
            return None
        try:
            padded = text + "=" * (-len(text) % 4)
            sealed_kind, payload = json.loads(self._fernet.decrypt(padded.encode()))
        except InvalidToken:
            return None
        return dict(payload) if sealed_kind == kind else None
