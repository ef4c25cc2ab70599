from django.urls import path

from Account import views

urlpatterns = [
    path("login", views.LoginView.as_view(), name="login"),
    path("callback", views.CallbackView.as_view(), name="callback"),
    path("problem/<slug:code>", views.SignInErrorView.as_view(), name="sign_in_error"),
    path("logout", views.LogOutView.as_view(), name="logout"),
    path("signed-out", views.SignedOutView.as_view(), name="signed_out"),
    path("clear-site-data", views.ClearSiteDataView.as_view(), name="clear_site_data"),
]
