"""Get a token for this app's managed identity, which Entra accepts in place of a client secret.

Only a user-assigned identity works, and the app registration must trust it:
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
MSAL finds the endpoint, for example App Service's, which ``IDENTITY_ENDPOINT`` names:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import msal
from django.conf import settings

from Helpers.entra import entra_client
from Helpers.errors import PageError

# The suffix that national clouds add to the audience of such a token, by the host of AUTHORITY.
SUFFIXES = {"login.microsoftonline.us": "USGov", "login.partner.microsoftonline.cn": "China"}

_token_cache = msal.TokenCache()  # tokens of the identity only, never of a user


def managed_identity_token() -> str:
    """Return a token for the identity, from the cache until five minutes before it expires.

    :raises PageError: ``ui_misconfigured`` if this app has no such identity.
    """
    identity = msal.UserAssignedManagedIdentity(client_id=settings.MANAGED_IDENTITY_CLIENT_ID)
    http_client = entra_client(settings.AUTHORITY, settings.CA_BUNDLE)
    # A new client each time: a shared one would replay a response with Retry-After for an hour.
    client = msal.ManagedIdentityClient(identity, http_client=http_client, token_cache=_token_cache)
    suffix = SUFFIXES.get(settings.AUTHORITY.split("/")[2], "")
    answer = client.acquire_token_for_client(resource=f"api://AzureADTokenExchange{suffix}")
    if not answer.get("access_token"):
        raise PageError("ui_misconfigured", "no token for MANAGED_IDENTITY_CLIENT_ID")
    return str(answer["access_token"])
