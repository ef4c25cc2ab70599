"""Fetch the signed-in user's subscriptions, and do what the API asks for before that works."""

from django.contrib.sessions.backends.base import SessionBase

from Helpers.correlation import correlation_id
from Helpers.errors import ApiRefusal, SignInRequired
from Helpers.flask_api import SubscriptionList, list_subscriptions
from Helpers.session import TOKEN_CACHE, note_success
from Helpers.token_acquisition import acquire_token_silent

# What the API's refusals call for. Whatever is not here gets its page at once.
RETRY_WITH_NEW_TOKEN = {
    "authorization_header_missing",
    "invalid_token",
    "token_expired",
    "claims_challenge",
}
SIGN_IN = {"invalid_token", "token_expired", "claims_challenge"} | {
    "consent_required",
    "insufficient_scope",
    "assertion_rejected",
}


def subscriptions_of(session: SessionBase) -> SubscriptionList:
    """Return what the API lists for the user of ``session``.

    A new access token may mend what the API refuses; if not, a sign-in may. Each is tried once.

    :raises NotSignedIn: when the session has no user.
    :raises SignInRequired: when only a sign-in can help.
    :raises PageError: for everything else.
    """
    access_token = acquire_token_silent(session)
    try:
        try:
            listed = list_subscriptions(access_token, correlation_id.get())
        except ApiRefusal as refusal:
            if refusal.code not in RETRY_WITH_NEW_TOKEN:
                raise
            access_token = acquire_token_silent(session, force_refresh=True, claims=refusal.claims)
            listed = list_subscriptions(access_token, correlation_id.get())
    except ApiRefusal as refusal:
        if refusal.code not in SIGN_IN:
            raise
        if refusal.code == "assertion_rejected":
            session.pop(TOKEN_CACHE, None)  # Entra revoked what these tokens came from
        raise SignInRequired(refusal.code, refusal.claims) from refusal
    note_success(session)
    return listed
