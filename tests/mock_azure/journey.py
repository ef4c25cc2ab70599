"""The journey: one browser's requests, as a sequence diagram and a list (front channel).

The mock sees only requests to Azure. It shows a step between the apps only if a request to Azure
proves it, and marks that step as inferred. ``words.json`` holds the texts.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from .context import azure
from .directory import Json
from .errors import EntraError
from .policies import parse_claims
from .record import Recorded

BROWSER, UI, API, ENTRA = range(4)  # the lanes, from left to right
CODE, REFRESH, EXCHANGE = "token:authorization_code", "token:refresh_token", "token:on_behalf_of"
LIST, BUTTON = "arm:subscriptions", "controls:button"
WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
HOPS = WORDS["hops"]  # for each hop: its two lanes, and its title if it succeeded or failed

blueprint = Blueprint("journey", __name__)


class Step(NamedTuple):
    """One arrow. ``kind`` is seen, inferred, cached or challenge; ``seen`` are its requests."""

    source: int
    target: int
    title: str
    seen: tuple[Recorded, ...] = ()
    kind: str = "seen"
    failed: bool = False
    about: str = ""  # the key of its explanation in words.json


class Chapter(NamedTuple):
    """A group of steps: a sign-in, a page of the app, a sign-out or a scenario's button."""

    title: str  # the outcome
    seen: list[Recorded]
    steps: list[Step]


@blueprint.get("/journey")
def journey() -> str:
    """Show everything since this browser's first request."""
    return _page(_chapters(_of_browser(azure.requests(), g.browser)))


@blueprint.get("/trace/<uuid:correlation_id>")
def trace(correlation_id: UUID) -> ResponseReturnValue:
    """Show the part of the journey with this correlation ID, or all its requests."""
    reference = str(correlation_id)
    own = _chapters(_of_browser(azure.requests(), g.browser))
    for number, chapter in enumerate(own, 1):
        if any(seen.correlation_id == reference for seen in chapter.seen):
            return redirect(url_for(".journey", _anchor=f"chapter-{number}"))
    return _page(_chapters(azure.recorder.of(reference)), reference, own)


def _page(chapters: list[Chapter], correlation_id: str = "", own: Sequence[Chapter] = ()) -> str:
    helpers = {"sent": _sent, "ordered": _ordered, "tokens": _tokens, "shown": _shown}
    context = {"words": WORDS, "opened": request.args.get("open", ""), "explained": _explained}
    context |= {"chapters": chapters, "correlation_id": correlation_id, "own": own}
    return render_template("journey.html", **context, **helpers)


# --- requests of one browser, and chapters --------------------------------------------------------


def _of_browser(everything: list[Recorded], browser: str) -> list[Recorded]:
    """Return the requests of ``browser``, found by its cookie, its sign-ins and correlation IDs.

    A request for discovery or signing keys names no user, so it counts with the one after it.
    """
    everything = [seen for seen in everything if seen.hop in HOPS]
    by_sid = {seen.sid: seen.browser for seen in everything if seen.sid and seen.browser}
    owners = [seen.browser or by_sid.get(seen.sid, "") for seen in everything]
    by_id = {s.correlation_id: owner for s, owner in zip(everything, owners, strict=True) if owner}
    mine: list[Recorded] = []
    owner = next(filter(None, reversed(owners)), "")
    for seen, own in zip(reversed(everything), reversed(owners), strict=True):
        own = own or (by_id.get(seen.correlation_id, "") if seen.correlation_id else "")
        owner = own or ("" if seen.sid else owner)
        if owner == browser:
            mine.append(seen)
    return mine[::-1]


def _chapters(records: list[Recorded]) -> list[Chapter]:
    pages = {seen.correlation_id for seen in records if seen.hop in (REFRESH, EXCHANGE, LIST)}
    keys: list[str] = []
    for seen in reversed(records):
        if seen.hop in ("logout", BUTTON):
            keys.append(seen.path)
        elif seen.correlation_id and seen.correlation_id in pages:
            keys.append(seen.correlation_id)
        elif seen.hop in ("discovery", "jwks") and not seen.correlation_id and keys:
            keys.append(keys[-1])
        else:
            keys.append("sign-in")
    pairs = groupby(zip(reversed(keys), records, strict=True), key=lambda pair: pair[0])
    return [_chapter([seen for _, seen in group], records) for _, group in pairs]


def _chapter(seen: list[Recorded], journey: list[Recorded]) -> Chapter:
    steps = list(_steps(seen, journey))
    requests = [step for step in steps if step.kind == "seen"]
    failed = [step for step in requests if step.failed]
    outcome = failed[0] if requests[-1].failed else requests[-1]
    return Chapter(outcome.title, seen, steps)


# --- the steps ------------------------------------------------------------------------------------


def _steps(chapter: list[Recorded], journey: list[Recorded]) -> Iterator[Step]:
    """Yield each request to Azure as a step, and the steps between the apps that it proves."""
    is_page = any(seen.hop in (REFRESH, EXCHANGE, LIST) for seen in chapter)
    at, asked = BROWSER, set[str]()  # the active app, and its requests to Azure so far
    passed: tuple[Step, ...] = ()  # a challenge that FlaskAPI passes on when it gives up
    for _, group in groupby(chapter, _alike):
        seen = tuple(group)
        last, hop = seen[-1], seen[-1].hop
        source, target = map(WORDS["lanes"].index, HOPS[hop][:2])
        if hop == "discovery" and _is_of_api(last, journey):
            source = API
        if passed and source != API:
            yield from passed
            at, asked, passed = UI, set(), ()
        if is_page and at == BROWSER:
            yield _between(BROWSER, UI, "opens", seen)
            at = UI
        if source == API and at == UI:
            if not asked & {CODE, REFRESH}:
                yield _between(UI, ENTRA, "token-a-cached", seen, "cached")
            yield _between(UI, API, "calls", seen)
            at = API
        if is_cached := hop == LIST and not asked & {EXCHANGE, LIST}:
            yield _between(API, ENTRA, "token-b-cached", seen, "cached")
        title = _title(seen, source, "the same token B" if is_cached else "token B")
        yield Step(source, target, title, seen, failed=_failed(last), about=hop)
        asked.add(hop)
        later = [entry for entry in journey if entry.at > last.at]
        if code := last.answered.get("code"):
            for redeemed in [entry for entry in later if entry.form.get("code") == code][:1]:
                yield _between(BROWSER, UI, "brings-code", (redeemed,))
        if source == API and (claims := _claims(last.answered)):
            yield _between(target, API, "challenge", seen, "challenge")
            asks = [entry for entry in later if entry.hop in ("authorize", REFRESH)]
            if any(claims.items() <= _claims(entry.query | entry.form).items() for entry in asks):
                passed = (_between(API, UI, "challenge-passed", seen, "challenge"),)
    yield from passed


def _between(
    source: int, target: int, about: str, seen: tuple[Recorded, ...], kind: str = "inferred"
) -> Step:
    return Step(source, target, WORDS["between"][about], seen, kind, about=about)


def _alike(seen: Recorded) -> object:
    """Return a key that is equal for the pages of one list, which make one step."""
    return (seen.correlation_id, seen.status, seen.answer) if seen.hop == LIST else id(seen)


def _is_of_api(discovery: Recorded, journey: list[Recorded]) -> bool:
    """FlaskAPI requests signing keys without a correlation ID, on its own connections."""
    own = {seen.connection for seen in journey if seen.hop in ("jwks", EXCHANGE)}
    return not discovery.correlation_id or discovery.connection in own


def _claims(members: Json) -> Json:
    """Return the claims challenge in the parameters of a request or a response."""
    try:
        return parse_claims(str(members.get("claims", "")))
    except EntraError:
        return {}


def _failed(seen: Recorded) -> bool:
    return bool(seen.answer) or seen.status >= 400 or "error" in seen.answered


def _title(seen: tuple[Recorded, ...], source: int, token_b: str) -> str:
    """Return the step's title, with its outcome."""
    last = seen[-1]
    if last.hop == BUTTON:
        name, switch = last.path.rpartition("/")[2], last.form.get("switch", "")
        titles = {scenario["name"]: scenario["title"] for scenario in azure.scenarios.all()}
        return WORDS["pressed"].get(name) or f"You switched {switch}: {titles.get(name, name)}"
    answerer, done, not_done = map(str, HOPS[last.hop][1:])
    sizes = [str(page.answered.get("value", "")).partition(" ")[0] for page in seen]
    words = {
        "token_b": token_b,
        "asker": WORDS["lanes"][source],
        "answerer": answerer,
        "user": azure.users[last.user].called if last.user in azure.users else "The user",
        "count": sum(int(size) for size in sizes if size.isdigit()),
        "pages": f" in {len(seen)} pages" if len(seen) > 1 else "",
    }
    if unanswered := WORDS["unanswered"].get(last.answer):
        attempts = f", in {len(seen)} attempts" if len(seen) > 1 else ""
        return f"{unanswered[0].format_map(words)}{attempts}"
    if _failed(last):
        reason = WORDS["reasons"].get(last.answer, last.answer) or last.answered.get("error")
        return f"{not_done.format_map(words)}: {reason or f'status {last.status}'}"
    outcome = WORDS["pages"].get(last.page or ("code" if "code" in last.answered else ""))
    return done.format_map(words) + (f": {outcome}" if outcome else "")


# --- details of a step ----------------------------------------------------------------------------


def _sent(seen: Recorded) -> Json:
    headers = {name: seen.headers[name] for name in WORDS["headers"] if name in seen.headers}
    return _ordered(headers | seen.query | seen.form)


def _ordered(members: Json) -> Json:
    """Return the parameters, starting with those that explain most."""
    names = [*WORDS["parameters"], *members]
    return {name: members[name] for name in sorted(members, key=names.index)}


def _tokens(seen: Recorded) -> tuple[list[str], list[tuple[str, list[Any], bool]]]:
    """Return the names of a step's tokens, and for each claim its values and if they differ."""
    access_tokens = {_name(claims): claims for claims in (seen.presented, seen.issued) if claims}
    columns = (
        {"ID token": seen.id_token} if seen.hop != EXCHANGE and seen.id_token else {}
    ) | access_tokens
    names = dict.fromkeys(
        [*WORDS["claims"], *(name for column in columns.values() for name in column)]
    )
    rows = [(name, [column.get(name) for column in columns.values()]) for name in names]
    return list(columns), [
        (name, values, any(value != values[0] for value in values))
        for name, values in rows
        if any(value is not None for value in values)
    ]


def _name(claims: Json) -> str:
    return "Token B" if claims.get("ver") == "1.0" else "Token A"


def _shown(name: str, value: Any) -> str:
    """Return a value for display: without secrets, lists as JSON, times in UTC."""
    if value is None:
        return "none"
    if str(value).startswith("sha256:") or name in WORDS["opaque"]:
        return "(removed)"
    if name in ("exp", "iat", "nbf", "auth_time") and isinstance(value, int):
        return f"{datetime.fromtimestamp(value, UTC):%H:%M:%S} UTC"
    return value if isinstance(value, str) else json.dumps(value)


def _explained(name: str, value: Any) -> list[str]:
    """Return the names of the GUIDs in ``value``, and the meaning of the claims it asks for."""
    asked = WORDS["asked"].items() if name == "claims" else ()
    meanings = [f"{claim}: {text}" for claim, text in asked if f'"{claim}"' in str(value)]
    return azure.names_in(value) + meanings
