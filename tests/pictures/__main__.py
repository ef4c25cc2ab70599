"""``tests/venv/bin/python -m tests.pictures``: take the README's pictures anew, from the demo."""

import base64
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, ViewportSize, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.e2e.conftest import start_demo, stop_demo

FOLDER = Path(__file__).parent
SIZE = ViewportSize(width=960, height=700)


def take(page: Page, name: str, last: Locator) -> None:
    """Write the page down to ``last``, as WebP: small, but no option of Playwright's own."""
    box = last.bounding_box()
    assert box
    clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": box["y"] + box["height"] + 24}
    picture = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {
            "format": "webp",
            "quality": 60,
            "captureBeyondViewport": True,
            "clip": clip | {"scale": 1},
        },
    )
    (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(picture["data"]))


def main() -> None:
    demo = start_demo()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = chromium.new_page(viewport=SIZE)
            page.goto(demo.ui)
            page.get_by_role("button", name=re.compile("Alice")).click()
            take(page, "consent", page.locator(".decision"))
            page.get_by_role("button", name="Accept").click()
            page.get_by_role("heading", name="How it works").wait_for()
            take(page, "subscriptions", page.locator(".hops"))
            chromium.close()
    finally:
        stop_demo(demo)


if __name__ == "__main__":
    main()
