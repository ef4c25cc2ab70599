from django.urls import include, path

urlpatterns = [
    path("", include("AzureManagement.urls")),
    path("account/", include("Account.urls")),
]

handler400 = "Helpers.error_pages.bad_request"
handler404 = "Helpers.error_pages.not_found"
handler500 = "Helpers.error_pages.server_error"
