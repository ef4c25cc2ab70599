// Sign in, exchange, and call as the application itself, with Microsoft's library for Node.
import {
  ConfidentialClientApplication,
  CryptoProvider,
  ManagedIdentityApplication,
} from "@azure/msal-node";
import { finish, openInBrowser, settings } from "./conversation.mjs";

function client(clientId, credential) {
  const { authority } = settings;
  const knownAuthorities = [new URL(authority).host];
  return new ConfidentialClientApplication({
    auth: { clientId, authority, knownAuthorities, ...credential },
  });
}

const ui = client(settings.ui.id, { clientSecret: settings.ui.secret });
const { verifier, challenge } = await new CryptoProvider().generatePkceCodes();
const request = { scopes: [`${settings.api.uri}/.default`], redirectUri: settings.redirectUri };
const address = await ui.getAuthCodeUrl({
  ...request,
  codeChallenge: challenge,
  codeChallengeMethod: "S256",
});
const code = (await openInBrowser(address)).searchParams.get("code");
const signedIn = await ui.acquireTokenByCode({ ...request, code, codeVerifier: verifier });
const silent = await ui.acquireTokenSilent({
  account: signedIn.account,
  scopes: [`${settings.api.uri}/access_as_user`],
});
const own = await ui.acquireTokenByClientCredential({
  scopes: ["https://management.azure.com/.default"],
});

// The API has no secret: its managed identity's token takes the place of one.
const identity = new ManagedIdentityApplication({
  managedIdentityIdParams: { userAssignedClientId: settings.identity },
});
const api = client(settings.api.id, {
  clientAssertion: async () => {
    const token = await identity.acquireToken({ resource: "api://AzureADTokenExchange" });
    return token.accessToken;
  },
});
const exchanged = await api.acquireTokenOnBehalfOf({
  oboAssertion: signedIn.accessToken,
  scopes: ["https://management.azure.com/user_impersonation"],
});
finish({
  name: signedIn.account.name,
  fromCache: silent.fromCache,
  own: own.accessToken,
  exchanged: exchanged.accessToken,
});
