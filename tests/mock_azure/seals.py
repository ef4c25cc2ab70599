"""Opaque strings that only this mock can read: codes, refresh tokens, cookies, form fields.

What they mean travels inside them, encrypted, so nothing has to be stored or tidied away.
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
        """What was sealed as this ``kind``, or None when it was not, or not by this mock."""
        if not isinstance(text, str) or not text.isascii():
            return None
        try:
            padded = text + "=" * (-len(text) % 4)
            found, payload = json.loads(self._fernet.decrypt(padded.encode()))
        except InvalidToken:
            return None
        return dict(payload) if found == kind else None
