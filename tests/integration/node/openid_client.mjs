// Sign in with the strictest OpenID Connect client, and validate token A with jose as an API does.
import { createRemoteJWKSet, jwtVerify } from "jose";
import * as oidc from "openid-client";
import { finish, openInBrowser, settings } from "./conversation.mjs";

const config = await oidc.discovery(
  new URL(`${settings.authority}/v2.0`),
  settings.ui.id,
  undefined,
  oidc.ClientSecretPost(settings.ui.secret),
);
oidc.allowInsecureRequests(config); // the mock's pages are plain HTTP
oidc.enableNonRepudiationChecks(config); // the ID token's signature too

async function signIn(scope) {
  const verifier = oidc.randomPKCECodeVerifier();
  const checks = {
    pkceCodeVerifier: verifier,
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
    maxAge: 3600,
  };
  const address = oidc.buildAuthorizationUrl(config, {
    scope,
    redirect_uri: settings.redirectUri,
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    max_age: "3600",
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  return oidc.authorizationCodeGrant(config, await openInBrowser(address.href), checks);
}

const forGraph = await signIn("openid profile email");
const { sub } = forGraph.claims();
const userinfo = await oidc.fetchUserInfo(config, forGraph.access_token, sub);

const forApi = await signIn(`openid ${settings.api.uri}/.default`);
const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
const { payload } = await jwtVerify(forApi.access_token, keys, {
  algorithms: ["RS256"],
  audience: settings.api.id,
  issuer: config.serverMetadata().issuer,
});
finish({ userinfo, scope: payload.scp });
