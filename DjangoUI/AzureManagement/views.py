"""The page that this app is about."""

import json

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from AzureManagement.subscriptions import subscriptions_of
from Helpers.session import IDENTITY


class SubscriptionsView(View):
    """Home page: the signed-in user's Azure subscriptions, as a table and as JSON."""

    def get(self, request: HttpRequest) -> HttpResponse:
        subscriptions = subscriptions_of(request.session)
        context = {
            "user": request.session[IDENTITY],
            "subscriptions": subscriptions,
            "json": json.dumps(subscriptions, indent=2, ensure_ascii=False),
        }
        return render(request, "AzureManagement/subscriptions.html", context)
