"""The journey and the mock's front page in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_pages import is_fine


@pytest.fixture(scope="module")
def carol(one_demo, browser: Browser) -> Iterator[Page]:
    """Carol's browser, after a sign-in, a policy's round trip, and a second load."""
    one_demo.reset()
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(one_demo.ui)
        page.get_by_role("button", name=re.compile("Carol")).click()
        page.get_by_role("button", name="Accept").click()
        page.get_by_role("button", name="Approve").click()
        expect(page).to_have_url(f"{one_demo.ui}/")
        page.reload()
        yield page


def test_tells_the_whole_round_trip_from_the_first_redirect(carol: Page, one_demo) -> None:
    carol.goto(f"{one_demo.front}/journey")
    assert carol.get_by_role("heading", level=2).all_inner_texts() == [
        "Carol is signed in: DjangoUI redeemed the code for token A",
        "Entra refused the exchange: second factor needed",
        "Carol is signed in: DjangoUI redeemed the code for token A",
        "FlaskAPI listed 2 subscriptions with token B",
        "FlaskAPI listed 2 subscriptions with the same token B",
    ]


def test_an_arrow_opens_what_was_sent_and_the_page_leads_back(carol: Page, one_demo) -> None:
    carol.goto(f"{one_demo.front}/journey")
    carol.locator("svg a", has_text="FlaskAPI exchanged token A for token B").last.click()
    opened = carol.locator("details[open]")
    expect(opened).to_have_count(1)
    expect(opened.get_by_role("table", name=re.compile("Token A and Token B"))).to_be_visible()
    expect(opened).to_contain_text("requested_token_use")
    carol.get_by_role("link", name="Back to DjangoUI").click()
    expect(carol).to_have_url(f"{one_demo.ui}/")


def test_the_app_leads_to_its_own_part_of_the_journey(carol: Page, one_demo) -> None:
    carol.goto(one_demo.ui)
    carol.locator(f"a[href^='{one_demo.front}/trace/']").first.click()
    expect(carol).to_have_url(re.compile(rf"^{one_demo.front}/journey#chapter-\d+$"))


def test_the_list_marks_steps_as_the_diagram_does(carol: Page, one_demo) -> None:
    """A narrow window has no diagram, so the list must show and explain gray and dashed."""
    carol.goto(f"{one_demo.front}/journey")
    legend = carol.get_by_role("list", name="Colors").get_by_role("listitem")
    assert legend.count() == 5
    looks: dict[str, str] = {}
    for kind in ("seen", "inferred", "cached", "challenge", "failed"):
        for item in (carol.locator(f".legend .{kind}"), carol.locator(f"ol.steps .{kind}").last):
            style = item.evaluate(
                "e => getComputedStyle(e).borderLeftStyle + getComputedStyle(e).borderLeftColor"
            )
            assert looks.setdefault(kind, style) == style
    assert len(set(looks.values())) == 5


def test_a_double_click_switches_on_once_and_stays_at_the_scenario(one_demo, page: Page) -> None:
    page.goto(one_demo.front)
    scenario = page.locator("#arm-away")
    scenario.get_by_role("button").dblclick()
    expect(scenario.locator(".state")).to_be_visible()
    expect(page).to_have_url(f"{one_demo.front}/#arm-away")
    expect(scenario).to_be_in_viewport()
    scenario.get_by_role("button", name="Switch off").click()
    expect(scenario.locator(".state")).to_have_count(0)


@pytest.mark.parametrize("path", ["/journey?open=8", "/"], ids=["journey", "front-page"])
def test_is_accessible_and_fits(carol: Page, one_demo, browser: Browser, path) -> None:
    """Includes the details of a refused exchange and the card of every scenario."""
    state = carol.context.storage_state()
    with browser.new_context(storage_state=state) as context:
        page = context.new_page()
        page.goto(f"{one_demo.front}{path}")
        diagram = page.locator("svg")
        assert bool(diagram.count()) == ("journey" in path)
        assert all(one.is_visible() for one in diagram.all())
        is_fine(page)
        assert not any(one.is_visible() for one in diagram.all())  # for want of room
        if "journey" in path:
            assert page.get_by_role("listitem").count() >= 30
