"""Sign-in, second factor, consent and sign-out: the pages a browser opens (front channel).

Nothing is kept between two pages: each form carries the request, sealed, and the seal names the
page it is for, so that no page can be skipped and no other site can compose a form.
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
    """What this is, where to look, and which failures to try."""
    g.form_action = "'self'"
    return render_template("index.html", user=azure.users.get(g.user or ""))


@blueprint.get("/<tenant>/oauth2/v2.0/authorize")
def authorize(tenant: str) -> ResponseReturnValue:
    """Begin: sign in silently when the browser has a session, else show the sign-in page."""
    azure.check_tenant(tenant)
    wanted = AuthorizeRequest(request.args.to_dict())
    if any(len(values) > 1 for values in request.args.listvalues()):  # RFC 6749 section 3.1
        raise EntraError(9002313)
    wanted.check_client()
    if tenant == ANY_TENANT and not wanted.client.public:
        raise EntraError(50194, client=wanted.client.name)
    try:
        wanted.check()
    except EntraError as error:
        raise ErrorForClient(wanted, error) from None
    if (fault := faults.current()) and isinstance(fault.answer, EntraError):
        raise ErrorForClient(wanted, fault.answer)
    sign_in = _session()
    asks_anew = wanted["prompt"] in ("login", "select_account")
    if sign_in is None or asks_anew or _too_old(wanted, sign_in):
        if wanted["prompt"] == "none":
            raise ErrorForClient(wanted, EntraError(50058))
        return _page("sign-in", wanted, users=azure.users.values())
    return _continue(wanted, sign_in)


@blueprint.route("/devicelogin", methods=["GET", "POST"])
def device_login() -> ResponseReturnValue:
    """A code that a device without a browser shows is typed in here."""
    known = azure.device_requests.get(request.form.get("user_code", "").strip().upper())
    if known is None:
        g.form_action = "'self'"
        wrong = request.method == "POST"
        return make_response(render_template("device.html", wrong=wrong, done=False))
    wanted = AuthorizeRequest(known)
    sign_in = _session()
    if sign_in is None:
        return _page("sign-in", wanted, users=azure.users.values())
    return _continue(wanted, sign_in)


@blueprint.post("/<tenant>/login")
def login(tenant: str) -> ResponseReturnValue:
    """A user was chosen on the sign-in page, or nobody."""
    wanted, _ = _from_form(tenant, "sign-in")
    if (user := request.form.get("user", "")) not in azure.users:
        return _redirect(wanted, error="access_denied", error_subcode="cancel")
    return _continue(wanted, SignIn(user, str(uuid.uuid4()), azure.clock.now()))


@blueprint.post("/<tenant>/mfa")
def second_factor(tenant: str) -> ResponseReturnValue:
    """The second factor was approved on its page, or not."""
    wanted, sign_in = _from_form(tenant, "mfa")
    assert sign_in is not None
    if request.form.get("decision") != "accept":
        return _redirect(wanted, error="access_denied", error_subcode="cancel")
    return _continue(wanted, replace(sign_in, mfa=True))


@blueprint.post("/<tenant>/consent")
def consent(tenant: str) -> ResponseReturnValue:
    """The permissions were accepted on the consent page, or not."""
    wanted, sign_in = _from_form(tenant, "consent")
    assert sign_in is not None
    if request.form.get("decision") != "accept":
        raise ErrorForClient(wanted, EntraError(65004))
    azure.consents.grant(sign_in.user, wanted.asked)
    return _finish(wanted, sign_in)


@blueprint.route("/<tenant>/oauth2/v2.0/logout", methods=["GET", "POST"])
def logout(tenant: str) -> ResponseReturnValue:
    """End the browser's session; go back only to an address that a registration lists.

    Without the ID token's ``login_hint``, Entra asks which account to sign out.
    https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#send-a-sign-out-request
    """
    azure.check_tenant(tenant)
    target = request.values.get("post_logout_redirect_uri", "")
    known = any(is_registered(target, client) for client in azure.applications.values())
    if (sign_in := _session()) and request.method == "GET":
        user = azure.users[sign_in.user]
        if request.args.get("logout_hint") != tokens.login_hint(user):
            g.form_action = f"'self' {_origin(target)}" if known else "'self'"
            return render_template("account.html", user=user, asked=request.args)
    if known:
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
    return _redirect(failure.wanted, **_error_parameters(failure.error))


# --- the steps ------------------------------------------------------------------------------------


def _continue(wanted: AuthorizeRequest, sign_in: SignIn) -> Response:
    """Go on with a signed-in user: second factor, consent, code, whichever is due."""
    g.user, g.sid = sign_in.user, sign_in.sid
    try:
        _check(wanted, sign_in)
    except EntraError as error:
        if wanted["prompt"] == "none":
            raise ErrorForClient(wanted, error) from None
        if page := {50076: "mfa", 65001: "consent"}.get(error.code):
            response = _page(page, wanted, sign_in, user=azure.users[sign_in.user])
        else:
            response = _blocked(wanted, error)
        return _remember(response, sign_in)
    return _finish(wanted, sign_in)


def _check(wanted: AuthorizeRequest, sign_in: SignIn) -> None:
    """:raises EntraError: what stands between this user and the code."""
    for resource_id in {ask.resource.client_id for ask in wanted.scopes.asks}:
        azure.policies.check(sign_in, resource_id, wanted.claims)
    if wanted["prompt"] == "consent" or azure.consents.missing(sign_in.user, wanted.asked):
        administrators_only = any(
            consent.resource.permissions[consent.scope].admin_only for consent in wanted.asked
        )
        is_admin = azure.users[sign_in.user].is_admin
        if not azure.consents.may_decide(sign_in.user) or (administrators_only and not is_admin):
            raise EntraError(90094, client=wanted.client.name)
        raise EntraError(65001, "interaction_required", client=wanted.client.name)


def _too_old(wanted: AuthorizeRequest, sign_in: SignIn) -> bool:
    """Whether the session does not do: another user is hinted at, or it began too long ago."""
    user = azure.users[sign_in.user]
    if wanted["login_hint"] and not user.is_called(wanted["login_hint"]):
        return True
    now = azure.clock.now()
    if wanted["max_age"] and now - sign_in.at > int(wanted["max_age"]):
        return True
    return sign_in.at < policies.not_before(wanted.claims)


def _finish(wanted: AuthorizeRequest, sign_in: SignIn) -> Response:
    """Issue the code."""
    g.user = sign_in.user
    if user_code := wanted["user_code"]:
        return _remember(_tell_device(user_code, sign_in.as_json()), sign_in)
    code = azure.seals.seal(
        "code",
        jti=str(uuid.uuid4()),
        client_id=wanted["client_id"],
        at=azure.clock.now(),
        query=wanted.query,
        sign_in=sign_in.as_json(),
    )
    answer = {"code": code, "session_state": sign_in.sid}
    if wanted["client_info"] == "1":
        answer["client_info"] = tokens.client_info(azure.users[sign_in.user])
    return _remember(_redirect(wanted, **answer), sign_in)


# --- pages and redirects --------------------------------------------------------------------------


def _from_form(tenant: str, page: str) -> tuple[AuthorizeRequest, SignIn | None]:
    """The request that a form of ``page`` carries.

    :raises EntraError: 9002313 when it was not ours, was for another page or is too old.
    """
    azure.check_tenant(tenant)
    sealed = azure.seals.unseal(page, request.form.get("request"))
    if sealed is None or azure.clock.now() > sealed["at"] + PAGE_LIFETIME_SECONDS:
        raise EntraError(9002313)
    sign_in = SignIn(**sealed["sign_in"]) if sealed["sign_in"] else None
    return AuthorizeRequest(sealed["query"]), sign_in


def _page(
    page: str, wanted: AuthorizeRequest, sign_in: SignIn | None = None, **context: Any
) -> Response:
    """A page with a form; its policy lets the answer redirect to the client, and only there.

    Browsers apply ``form-action`` to redirects after a POST too (Chromium does), hence the origin.
    """
    known = sign_in.as_json() if sign_in else None
    sealed = azure.seals.seal(page, query=wanted.query, sign_in=known, at=azure.clock.now())
    context |= {"wanted": wanted, "sealed": sealed, "tenant": azure.tenant_id}
    g.page, g.form_action = page, "'self'"
    if wanted["redirect_uri"]:
        g.form_action += f" {_origin(wanted['redirect_uri'])}"
    return make_response(render_template(f"{page}.html", **context))


def _blocked(wanted: AuthorizeRequest, error: EntraError) -> Response:
    """A page that explains why there is no way on, with a link that tells the client so."""
    back = _answer_address(wanted, _error_parameters(error))
    html = render_template("error.html", error=error, back=back, wanted=wanted)
    return make_response(html, 200)


def _error_parameters(error: EntraError) -> dict[str, str]:
    g.answer = f"AADSTS{error.code}"
    found = {"error": error.error, "error_description": error.text, "claims": error.claims}
    return {name: value for name, value in found.items() if value}


def _redirect(wanted: AuthorizeRequest, **answer: str) -> Response:
    """Send the browser back to the client, by 303 or by a form that submits itself."""
    if wanted["user_code"]:
        return _tell_device(wanted["user_code"], {})
    if wanted["response_mode"] != "form_post":
        return redirect(_answer_address(wanted, answer), 303)
    answer |= _state(wanted)
    g.form_action = _origin(wanted["redirect_uri"])
    html = render_template("form_post.html", wanted=wanted, answer=answer)
    return make_response(html)


def _tell_device(user_code: str, decision: dict[str, Any]) -> Response:
    """Let the device's next question be answered: ``decision`` is the sign-in, or empty."""
    azure.device_codes[user_code] = decision
    azure.device_requests.pop(user_code, None)
    return make_response(render_template("device.html", wrong=False, done=True))


def _answer_address(wanted: AuthorizeRequest, answer: dict[str, str]) -> str:
    if wanted["response_mode"] == "fragment":
        return f"{wanted['redirect_uri']}#{urlencode(answer | _state(wanted))}"
    return _with_query(wanted["redirect_uri"], answer | _state(wanted))


def _state(wanted: AuthorizeRequest) -> dict[str, str]:
    return {"state": wanted["state"]} if wanted["state"] else {}


def _with_query(uri: str, parameters: dict[str, str]) -> str:
    if not parameters:
        return uri
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(parameters)}"


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _session() -> SignIn | None:
    """Who this browser has signed in as, unless that was revoked meanwhile."""
    known = azure.seals.unseal("session", request.cookies.get(COOKIE))
    if known is None:
        return None
    sign_in = SignIn(**known)
    return sign_in if sign_in.at >= azure.policies.valid_from(sign_in.user) else None


def _remember(response: Response, sign_in: SignIn) -> Response:
    """Single sign-on; named of its own, as cookies of localhost are shared by all ports."""
    session = azure.seals.seal("session", **sign_in.as_json())
    response.set_cookie(COOKIE, session, httponly=True, samesite="Lax")
    return response
