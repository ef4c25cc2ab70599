"""A browser without a browser: follows redirects, keeps cookies, presses the buttons of forms."""

import re
from html import unescape
from typing import Self
from urllib.parse import urljoin

import requests


class Visitor:
    """One person with one set of cookies; ``page`` is what they look at."""

    def __init__(self, ui: str) -> None:
        self.ui = ui
        self.session = requests.Session()
        self.session.trust_env = False
        self.page = requests.Response()

    def open(self, path: str = "/") -> Self:
        self.page = self.session.get(urljoin(self.ui, path), timeout=40)
        return self

    def press(self, **button: str) -> Self:
        """Send the page's first form by one of its buttons, ``name=value``; none needs a name."""
        form = re.search(r'<form method="post" action="([^"]+)"(.*?)</form>', self.page.text, re.S)
        assert form, self.page.text
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[2])
        data = {name: unescape(value) for name, value in hidden} | button
        self.page = self.session.post(
            urljoin(self.page.url, unescape(form[1])),
            data=data,
            headers={"Referer": self.page.url},
            timeout=40,
        )
        return self

    def sign_in(self, user: str) -> Self:
        """Open the web app and go through Entra's pages."""
        return self.open().answer_entra(user)

    def answer_entra(self, user: str) -> Self:
        """Go through Entra's pages, whichever come, as ``user`` who agrees to everything."""
        for _ in range(6):
            if "Choose who you are" in self.page.text:
                self.press(user=user)
            elif "Permissions requested" in self.page.text or "Approve this" in self.page.text:
                self.press(decision="accept")
            elif "submit.js" in self.page.text:  # a form that a browser sends by itself
                self.press()
            else:
                break
        return self

    @property
    def names(self) -> list[str]:
        """The subscriptions in the page's table."""
        found = re.findall(r'scope="row">([^<]+)</th>', self.page.text)  # below, <code> follows
        return [unescape(name) for name in found]
