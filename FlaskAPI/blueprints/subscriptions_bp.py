"""URL rules of the subscriptions resource."""

from flask import Blueprint

from views.subscriptions_view import SubscriptionsAPI

subscriptions_bp = Blueprint("subscriptions", __name__)
subscriptions_bp.add_url_rule("/subscriptions", view_func=SubscriptionsAPI.as_view("subscriptions"))
