"""The only resource of this API."""

from typing import Any

from flask.views import MethodView

from helpers.authorization import requires_jwt_authorization
from helpers.azure_resource_manager import list_subscriptions
from helpers.token_acquisition import call_on_behalf_of


class SubscriptionsAPI(MethodView):
    """``GET /subscriptions``: return the Azure subscriptions that the signed-in user can see.

    The body is Resource Manager's own JSON, ``{"value": [{"subscriptionId": ...}], ...}``.
    """

    decorators = [requires_jwt_authorization]

    def get(self) -> dict[str, Any]:
        return call_on_behalf_of(list_subscriptions)
