from django.urls import path

from AzureManagement.views import SubscriptionsView

urlpatterns = [path("", SubscriptionsView.as_view(), name="azure_management_home")]
