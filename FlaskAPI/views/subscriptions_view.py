"""The one resource of this API."""

from typing import Any

from flask import g
from flask.views import MethodView

from helpers.authorization import requires_jwt_authorization
from helpers.azure_resource_manager import AccessTokenRejected, list_subscriptions
from helpers.token_acquisition import acquire_token_on_behalf_of


class SubscriptionsAPI(MethodView):
    """``GET /subscriptions``: the Azure subscriptions that the signed-in user can see.

    Answers with Resource Manager's own JSON, ``{"value": [{"subscriptionId": ...}], ...}``.
    """

    decorators = [requires_jwt_authorization]

    def get(self) -> dict[str, Any]:
        access_token = acquire_token_on_behalf_of(g.user_assertion)
        try:
            return list_subscriptions(access_token)
        except AccessTokenRejected as rejected:  # revoked meanwhile: one more try with a new token
            access_token = acquire_token_on_behalf_of(
                g.user_assertion, rejected_token=access_token, claims_challenge=rejected.claims
            )
            try:
                return list_subscriptions(access_token)
            except AccessTokenRejected as again:
                raise again if again.claims else rejected from None
