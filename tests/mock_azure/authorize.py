"""Sign-in, second factor, consent and sign-out: the pages that a browser opens (front channel).

The mock stores nothing between two pages: each form contains the encrypted request and the name of
its page, so that no page can be skipped and no other site can forge a form.
"""

import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, g, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from . import faults, policies, tokens
from .authorization_request import AuthorizeRequest, ErrorForClient, is_registered
from .context import azure
from .directory import ANY_TENANT
from .errors import EntraError
from .policies import SignIn

COOKIE = "mockazure_sid"
PAGE_LIFETIME_SECONDS = 3600

blueprint = Blueprint("front", __name__)


# --- the routes -----------------------------------------------------------------------------------


@blueprint.get("/")
def index() -> str:
    """Show the front page: the mock, its addresses and the scenarios."""
    g.form_action = "'self'"
    return render_template("index.html", user=azure.users.get(g.user or ""))


@blueprint.get("/<tenant>/oauth2/v2.0/authorize")
def authorize(tenant: str) -> ResponseReturnValue:
    """Sign in silently if the browser has a session, else show the sign-in page."""
    azure.check_tenant(tenant)
    authorization = AuthorizeRequest(request.args.to_dict())
    if any(len(values) > 1 for values in request.args.listvalues()):  # RFC 6749 section 3.1
        raise EntraError(9002313)
    authorization.check_client()
    if tenant == ANY_TENANT and not authorization.client.public:
        raise EntraError(50194, client=authorization.client.name)
    try:
        authorization.check()
    except EntraError as error:
        raise ErrorForClient(authorization, error) from None
    if (fault := faults.current()) and isinstance(fault.answer, EntraError):
        raise ErrorForClient(authorization, fault.answer)
    sign_in = _session()
    asks_anew = authorization["prompt"] in ("login", "select_account")
    if sign_in is None or asks_anew or _too_old(authorization, sign_in):
        if authorization["prompt"] == "none":
            raise ErrorForClient(authorization, EntraError(50058))
        return _page("sign-in", authorization, users=azure.users.values())
    return _continue(authorization, sign_in)


@blueprint.route("/devicelogin", methods=["GET", "POST"])
def device_login() -> ResponseReturnValue:
    """Let the user enter the code that a device without a browser shows."""
    query = azure.device_requests.get(request.form.get("user_code", "").strip().upper())
    if query is None:
        g.form_action = "'self'"
        wrong = request.method == "POST"
        return make_response(render_template("device.html", wrong=wrong, done=False))
    authorization = AuthorizeRequest(query)
    sign_in = _session()
    if sign_in is None:
        return _page("sign-in", authorization, users=azure.users.values())
    return _continue(authorization, sign_in)


@blueprint.post("/<tenant>/login")
def login(tenant: str) -> ResponseReturnValue:
    """Handle the sign-in page's form: a chosen user, or Cancel."""
    authorization, _ = _from_form(tenant, "sign-in")
    if (user := request.form.get("user", "")) not in azure.users:
        return _redirect(authorization, error="access_denied", error_subcode="cancel")
    return _continue(authorization, SignIn(user, str(uuid.uuid4()), azure.clock.now()))


@blueprint.post("/<tenant>/mfa")
def second_factor(tenant: str) -> ResponseReturnValue:
    """Handle the second factor page's form: Approve or Cancel."""
    authorization, sign_in = _from_form(tenant, "mfa")
    assert sign_in is not None
    if request.form.get("decision") != "accept":
        return _redirect(authorization, error="access_denied", error_subcode="cancel")
    return _continue(authorization, replace(sign_in, mfa=True))


@blueprint.post("/<tenant>/consent")
def consent(tenant: str) -> ResponseReturnValue:
    """Handle the consent page's form: Accept or Cancel."""
    authorization, sign_in = _from_form(tenant, "consent")
    assert sign_in is not None
    if request.form.get("decision") != "accept":
        raise ErrorForClient(authorization, EntraError(65004))
    azure.consents.grant(sign_in.user, authorization.asked)
    return _finish(authorization, sign_in)


@blueprint.route("/<tenant>/oauth2/v2.0/logout", methods=["GET", "POST"])
def logout(tenant: str) -> ResponseReturnValue:
    """End the browser's session; redirect only to an address that a registration lists.

    Without the ID token's ``login_hint``, Entra asks which account to sign out.
    https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#send-a-sign-out-request
    """
    azure.check_tenant(tenant)
    target = request.values.get("post_logout_redirect_uri", "")
    is_known = any(is_registered(target, client) for client in azure.applications.values())
    if (sign_in := _session()) and request.method == "GET":
        user = azure.users[sign_in.user]
        if request.args.get("logout_hint") != tokens.login_hint(user):
            g.form_action = f"'self' {_origin(target)}" if is_known else "'self'"
            return render_template("account.html", user=user, asked=request.args)
    if is_known:
        state = request.values.get("state")
        response = redirect(_with_query(target, {"state": state} if state else {}), 303)
    else:
        response = make_response(render_template("signed_out.html"))
    response.delete_cookie(COOKIE)
    return response


@blueprint.errorhandler(EntraError)
def show_error(error: EntraError) -> ResponseReturnValue:
    g.answer = f"AADSTS{error.code}"
    return render_template("error.html", error=error, back=None), error.status


@blueprint.errorhandler(ErrorForClient)
def tell_client(failure: ErrorForClient) -> ResponseReturnValue:
    return _redirect(failure.authorization, **_error_parameters(failure.error))


# --- the steps ------------------------------------------------------------------------------------


def _continue(authorization: AuthorizeRequest, sign_in: SignIn) -> Response:
    """Take the next step for a signed-in user: second factor, consent or code."""
    g.user, g.sid = sign_in.user, sign_in.sid
    try:
        _check(authorization, sign_in)
    except EntraError as error:
        if authorization["prompt"] == "none":
            raise ErrorForClient(authorization, error) from None
        if page := {50076: "mfa", 65001: "consent"}.get(error.code):
            response = _page(page, authorization, sign_in, user=azure.users[sign_in.user])
        else:
            response = _blocked(authorization, error)
        return _remember(response, sign_in)
    return _finish(authorization, sign_in)


def _check(authorization: AuthorizeRequest, sign_in: SignIn) -> None:
    """:raises EntraError: if this user can't have a code yet, or at all."""
    for resource_id in {ask.resource.client_id for ask in authorization.scopes.asks}:
        azure.policies.check(sign_in, resource_id, authorization.claims)
    missing = azure.consents.missing(sign_in.user, authorization.asked)
    if missing or authorization["prompt"] == "consent":
        administrators_only = any(
            ask.resource.permissions[ask.scope].admin_only for ask in authorization.asked
        )
        is_admin = azure.users[sign_in.user].is_admin
        if not azure.consents.may_decide(sign_in.user) or (administrators_only and not is_admin):
            raise EntraError(90094, client=authorization.client.name)
        raise EntraError(65001, "interaction_required", client=authorization.client.name)


def _too_old(authorization: AuthorizeRequest, sign_in: SignIn) -> bool:
    """Return whether the session can't be used: it is another user's, or too old."""
    user = azure.users[sign_in.user]
    if authorization["login_hint"] and not user.is_called(authorization["login_hint"]):
        return True
    now = azure.clock.now()
    if authorization["max_age"] and now - sign_in.at > int(authorization["max_age"]):
        return True
    return sign_in.at < policies.not_before(authorization.claims)


def _finish(authorization: AuthorizeRequest, sign_in: SignIn) -> Response:
    """Issue the code."""
    g.user = sign_in.user
    if user_code := authorization["user_code"]:
        return _remember(_tell_device(user_code, sign_in.as_json()), sign_in)
    code = azure.seals.seal(
        "code",
        jti=str(uuid.uuid4()),
        client_id=authorization["client_id"],
        at=azure.clock.now(),
        query=authorization.query,
        sign_in=sign_in.as_json(),
    )
    answer = {"code": code, "session_state": sign_in.sid}
    if authorization["client_info"] == "1":
        answer["client_info"] = tokens.client_info(azure.users[sign_in.user])
    return _remember(_redirect(authorization, **answer), sign_in)


# --- pages and redirects --------------------------------------------------------------------------


def _from_form(tenant: str, page: str) -> tuple[AuthorizeRequest, SignIn | None]:
    """Return the authorization request and the sign-in in the form of ``page``.

    :raises EntraError: 9002313 if this mock did not make the form for that page, or it is too old.
    """
    azure.check_tenant(tenant)
    sealed = azure.seals.unseal(page, request.form.get("request"))
    if sealed is None or azure.clock.now() > sealed["at"] + PAGE_LIFETIME_SECONDS:
        raise EntraError(9002313)
    sign_in = SignIn(**sealed["sign_in"]) if sealed["sign_in"] else None
    return AuthorizeRequest(sealed["query"]), sign_in


def _page(
    page: str, authorization: AuthorizeRequest, sign_in: SignIn | None = None, **context: Any
) -> Response:
    """Return a page with a form, whose response may redirect to the client and nowhere else.

    Chromium applies ``form-action`` to redirects after a POST too, so it lists the client's origin.
    """
    sign_in_json = sign_in.as_json() if sign_in else None
    sealed = azure.seals.seal(
        page, query=authorization.query, sign_in=sign_in_json, at=azure.clock.now()
    )
    context |= {"authorization": authorization, "sealed": sealed, "tenant": azure.tenant_id}
    g.page, g.form_action = page, "'self'"
    if authorization["redirect_uri"]:
        g.form_action += f" {_origin(authorization['redirect_uri'])}"
    return make_response(render_template(f"{page}.html", **context))


def _blocked(authorization: AuthorizeRequest, error: EntraError) -> Response:
    """Return a page that explains the refusal, with a link that sends the error to the client."""
    back = _answer_address(authorization, _error_parameters(error))
    html = render_template("error.html", error=error, back=back, authorization=authorization)
    return make_response(html, 200)


def _error_parameters(error: EntraError) -> dict[str, str]:
    g.answer = f"AADSTS{error.code}"
    parameters = {"error": error.error, "error_description": error.text, "claims": error.claims}
    return {name: value for name, value in parameters.items() if value}


def _redirect(authorization: AuthorizeRequest, **answer: str) -> Response:
    """Send the browser back to the client, with a 303 or a form that submits itself."""
    if authorization["user_code"]:
        return _tell_device(authorization["user_code"], {})
    if authorization["response_mode"] != "form_post":
        return redirect(_answer_address(authorization, answer), 303)
    answer |= _state(authorization)
    g.form_action = _origin(authorization["redirect_uri"])
    html = render_template("form_post.html", authorization=authorization, answer=answer)
    return make_response(html)


def _tell_device(user_code: str, decision: dict[str, Any]) -> Response:
    """Record ``decision``, the sign-in or {} if declined, for the device's next request."""
    azure.device_codes[user_code] = decision
    azure.device_requests.pop(user_code, None)
    return make_response(render_template("device.html", wrong=False, done=True))


def _answer_address(authorization: AuthorizeRequest, answer: dict[str, str]) -> str:
    if authorization["response_mode"] == "fragment":
        return f"{authorization['redirect_uri']}#{urlencode(answer | _state(authorization))}"
    return _with_query(authorization["redirect_uri"], answer | _state(authorization))


def _state(authorization: AuthorizeRequest) -> dict[str, str]:
    return {"state": authorization["state"]} if authorization["state"] else {}


def _with_query(uri: str, parameters: dict[str, str]) -> str:
    if not parameters:
        return uri
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(parameters)}"


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _session() -> SignIn | None:
    """Return the browser's sign-in, unless it has been revoked."""
    members = azure.seals.unseal("session", request.cookies.get(COOKIE))
    if members is None:
        return None
    sign_in = SignIn(**members)
    return sign_in if sign_in.at >= azure.policies.valid_from(sign_in.user) else None


def _remember(response: Response, sign_in: SignIn) -> Response:
    """Set the single sign-on cookie. Its name is distinct, as ports of localhost share cookies."""
    session = azure.seals.seal("session", **sign_in.as_json())
    response.set_cookie(COOKIE, session, httponly=True, samesite="Lax")
    return response
