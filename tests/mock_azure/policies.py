"""Conditional Access policies and revoked sessions, which make users sign in again."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from .directory import ARM_ID, Json, User
from .errors import EntraError


@dataclass(frozen=True)
class SignIn:
    """One interactive sign-in. Every token issued for it contains it, encrypted."""

    user: str
    sid: str
    at: float  # seconds since 1970
    mfa: bool = False

    def as_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Policy:
    """``users`` None means all users; ``resource`` is the client ID that it protects."""

    demand: Literal["mfa", "block"]
    users: frozenset[str] | None
    resource: str
    policy_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def applies(self, user: str, resource: str) -> bool:
        return resource == self.resource and (self.users is None or user in self.users)


class Policies:
    """``step_up`` is the authentication context that ARM requires, e.g. ``c1``, or empty."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self.step_up = ""
        self._policies: list[Policy] = []
        self._valid_from: dict[str, float] = {}
        for user in users.values():
            if user.needs_mfa:
                self.add("mfa", user.key)

    def add(self, demand: Literal["mfa", "block"], *users: str, resource: str = ARM_ID) -> Policy:
        """Protect ``resource`` for ``users``, or for all users if none is given."""
        policy = Policy(demand, frozenset(users) or None, resource)
        self._policies.append(policy)
        return policy

    def remove(self, policy: Policy) -> None:
        self._policies.remove(policy)

    def revoke_sessions(self, user: str, now: float) -> None:
        """Revoke every sign-in of ``user`` before ``now`` (``TokensValidFrom``)."""
        self._valid_from[user] = now

    def valid_from(self, user: str) -> float:
        return self._valid_from.get(user, 0.0)

    def check(self, sign_in: SignIn, resource: str, claims: Json) -> None:
        """Check whether the policies allow a token for ``resource``.

        :raises EntraError: 50173 if the sign-in is revoked or older than a claims challenge
            allows, 50076 if a second factor is missing, 53003 if a policy blocks the user.
        """
        valid_from = max(self.valid_from(sign_in.user), not_before(claims))
        if sign_in.at < valid_from:
            raise EntraError(50173, issued=int(sign_in.at), valid_from=int(valid_from))
        for policy in self._policies:
            if not policy.applies(sign_in.user, resource) and policy.policy_id not in named(claims):
                continue
            if policy.demand == "block":
                raise EntraError(53003, policy=policy.policy_id, resource=resource)
            if not sign_in.mfa:
                raise EntraError(50076, policy=policy.policy_id, resource=resource)
        if named(claims) and not sign_in.mfa:  # a challenge of a policy that no longer exists
            raise EntraError(50076, policy=named(claims)[0], resource=resource)
        if "acrs" in claims and not sign_in.mfa:
            raise EntraError(50076, claims=step_up_request(claims["acrs"]), resource=resource)


def parse_claims(text: str) -> Json:
    """Return the ``access_token`` part of a ``claims`` parameter (OpenID Connect Core 5.5).

    :raises EntraError: 9002313 for anything but a JSON object of objects.
    """
    if not text:
        return {}
    try:
        members = json.loads(text).get("access_token") or {}
        return {str(name): dict(value or {}) for name, value in members.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise EntraError(9002313) from None


def named(claims: Json) -> list[str]:
    """Return the policy IDs in a claims challenge."""
    return _values(claims, "capolids") + _values(claims, "polids")


def step_up_request(context: Json) -> str:
    """Return the ``claims`` (JSON) that ask for an authentication context.

    https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context
    """
    return json.dumps({"access_token": {"acrs": context}}, separators=(",", ":"))


def has_cp1(claims: Json) -> bool:
    """Return whether the client announces that it understands claims challenges."""
    return "cp1" in [value.lower() for value in _values(claims, "xms_cc")]


def not_before(claims: Json) -> float:
    """Return the time before which a sign-in does not satisfy the claims challenge."""
    value = str(claims.get("nbf", {}).get("value"))
    return float(value) if re.fullmatch("[0-9]{1,12}", value) else 0.0


def _values(claims: Json, name: str) -> list[str]:
    values = claims.get(name, {}).get("values")
    return [str(value) for value in values] if isinstance(values, list) else []
