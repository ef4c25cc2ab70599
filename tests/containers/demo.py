"""``python -m tests.containers.demo``: walk through the composed demo with a browser."""

from types import SimpleNamespace

from playwright.sync_api import sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.containers.engine import Containers
from tests.e2e.test_walkthrough import test_a_user_signs_in_sees_the_list_and_signs_out as walk


def main() -> None:
    with Containers("on-behalf-of-demo", __doc__, "docker-compose.yml") as containers:
        containers.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            addresses = SimpleNamespace(ui="http://localhost:8000", front="http://localhost:8400")
            walk(addresses, browser.new_page())
            browser.close()
    print("Signed in, saw the list, signed out.")


if __name__ == "__main__":
    main()
