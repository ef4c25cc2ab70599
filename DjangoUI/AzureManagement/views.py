"""The home page."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from AzureManagement.how_it_works import how_it_works
from AzureManagement.subscriptions import subscriptions_of
from Helpers.session import IDENTITY


class SubscriptionsView(View):
    """Show the signed-in user's Azure subscriptions, as a table and as JSON."""

    def get(self, request: HttpRequest) -> HttpResponse:
        listed = subscriptions_of(request.session)
        context = {
            "user": request.session[IDENTITY],
            "subscriptions": listed.subscriptions,
            "json": listed.text,
        }
        if settings.ENVIRONMENT == "development":
            context["how_it_works"] = how_it_works(request.session, listed)
        return render(request, "AzureManagement/subscriptions.html", context)
