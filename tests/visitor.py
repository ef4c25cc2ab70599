"""A simple HTTP client as a browser: it follows redirects, keeps cookies and submits forms."""

import json
import re
from html import unescape
from typing import Any, Self
from urllib.parse import urljoin

import requests


def form_of(page: str, action: str = '[^"]+') -> tuple[str, dict[str, str]]:
    """Return the address and the hidden fields of the first form, or of the one with ``action``."""
    form = re.search(rf'<form method="post" action="({action})"(.*?)</form>', page, re.S)
    assert form, page
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[2])
    return unescape(form[1]), {name: unescape(value) for name, value in hidden}


class Visitor:
    """One user with one set of cookies; ``page`` is the current page."""

    def __init__(self, ui: str) -> None:
        self.ui = ui
        self.session = requests.Session()
        self.session.trust_env = False
        self.page = requests.Response()

    def open(self, path: str = "/") -> Self:
        self.page = self.session.get(urljoin(self.ui, path), timeout=40)
        return self

    def press(self, action: str = '[^"]+', **button: str) -> Self:
        """Submit the first form, or the one with ``action``, with its button ``name=value``."""
        address, fields = form_of(self.page.text, action)
        self.page = self.session.post(
            urljoin(self.page.url, address),
            data=fields | button,
            headers={"Referer": self.page.url},
            timeout=40,
        )
        return self

    def sign_in(self, user: str) -> Self:
        """Open the home page and go through Entra's pages."""
        return self.open().answer(user)

    def answer(self, user: str) -> Self:
        """Go through Entra's pages from here as ``user``, who accepts everything."""
        for _ in range(6):
            if self.asks("Choose who you are"):
                self.press(user=user)
            elif self.asks("Permissions requested") or self.asks("Approve this"):
                self.press(decision="accept")
            elif "submit.js" in self.page.text:  # a form that browsers submit automatically
                self.press()
            else:
                break
        return self

    def asks(self, question: str) -> bool:
        """Return whether the current page is this page of Entra's."""
        return question in self.page.text

    def wait_a_little(self) -> Self:
        """Delete the cookie that records a sign-in for ten seconds, as if they were over."""
        self.session.cookies.set("signed_in_just_now", None)
        return self

    def another_tab(self) -> "Visitor":
        """Return another client for the same user, with a copy of the cookies."""
        tab = Visitor(self.ui)
        tab.session.cookies.update(self.session.cookies)
        return tab

    def click(self, label: str) -> Self:
        """Follow the first link with this ``label``."""
        link = re.search(rf'<a\b[^>]* href="([^"]+)">{label}</a>', self.page.text)
        assert link, self.page.text
        return self.open(urljoin(self.page.url, unescape(link[1])))

    @property
    def reads(self) -> tuple[int, str]:
        """The page's status and heading."""
        heading = re.search(r"<h1[^>]*>(.*?)</h1>", self.page.text)
        assert heading, self.page.text
        return self.page.status_code, unescape(heading[1])

    @property
    def names(self) -> list[str]:
        """The subscriptions in the page's table."""
        cells = re.findall(r'scope="row">([^<]+)</th>', self.page.text)  # below, <code> follows
        return [unescape(name) for name in cells]

    @property
    def json(self) -> Any:
        """The JSON array that the page shows."""
        array = re.search(r"<pre[^>]*><code>(.*?)</code></pre>", self.page.text, re.S)
        assert array, self.page.text
        return json.loads(unescape(array[1]))
