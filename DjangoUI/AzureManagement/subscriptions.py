"""Fetch the signed-in user's subscriptions, with a new token or a new sign-in if necessary."""

from django.contrib.sessions.backends.base import SessionBase

from Helpers.correlation import correlation_id
from Helpers.errors import ApiRefusal, SignInRequired
from Helpers.flask_api import SubscriptionList, list_subscriptions
from Helpers.session import TOKEN_CACHE, note_success
from Helpers.token_acquisition import acquire_token_silent

# The API's error codes after which a new token or a new sign-in may help.
TOKEN_REJECTED = {"invalid_token", "token_expired", "claims_challenge"}
RETRY_WITH_NEW_TOKEN = TOKEN_REJECTED | {"authorization_header_missing"}
SIGN_IN = TOKEN_REJECTED | {"consent_required", "insufficient_scope", "assertion_rejected"}


def subscriptions_of(session: SessionBase) -> SubscriptionList:
    """Return the subscriptions of the user of ``session``.

    If the API refuses, retry with a new access token; if it still refuses, ask for a sign-in.

    :raises NotSignedIn: if the session has no user.
    :raises SignInRequired: if only a sign-in can help.
    :raises PageError: for all other failures.
    """
    access_token = acquire_token_silent(session)
    try:
        try:
            subscription_list = list_subscriptions(access_token, correlation_id.get())
        except ApiRefusal as refusal:
            if refusal.code not in RETRY_WITH_NEW_TOKEN:
                raise
            access_token = acquire_token_silent(session, force_refresh=True, claims=refusal.claims)
            subscription_list = list_subscriptions(access_token, correlation_id.get())
    except ApiRefusal as refusal:
        if refusal.code not in SIGN_IN:
            raise
        if refusal.code == "assertion_rejected":
            session.pop(TOKEN_CACHE, None)  # Entra has revoked these tokens
        raise SignInRequired(refusal.code, claims=refusal.claims) from refusal
    note_success(session)
    return subscription_list
