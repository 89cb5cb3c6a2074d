"""A page opened in Chromium, watched: what it says, asks for, and tries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WATCH = """
window.__hits = [];
window.__hit = (number) => window.__hits.push(number);
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => window.__violations.push(
    `${event.violatedDirective} ${event.blockedURI}`));
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, or a skip."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("program missing: playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("program missing: chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--force-prefers-reduced-motion"]
        )
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page, and all that it did besides being shown.

    Attributes:
        page: The page.
        said: What it wrote to the console, and errors of its script.
        asked: Addresses that it asked for, itself excepted; none of them was answered.
        dialogs: Dialogs that it opened.
    """

    def __init__(self, context: Any, path: Path) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        self.page = context.new_page()
        self.page.add_init_script(WATCH)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.route("**/*", lambda route: self._route(route, path.as_uri()))
        self.page.goto(path.as_uri())

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _route(self, route: Any, own: str) -> None:
        url = route.request.url
        if url == own or url.startswith("data:"):
            route.continue_()
            return
        self.asked.append(url)
        route.abort()

    def hits(self) -> list[Any]:
        """What called `window.__hit`, in the page or in one of its frames."""
        return [hit for frame in self.page.frames for hit in frame.evaluate("window.__hits || []")]

    def violations(self) -> list[str]:
        """What the page's policy has had to forbid."""
        return list(self.page.evaluate("window.__violations"))

    def quiet(self) -> bool:
        """Whether it did nothing but being shown."""
        return not (self.said or self.asked or self.dialogs or self.hits() or self.violations())


@contextmanager
def watched(browser: Any, path: Path, **options: Any) -> Iterator[Watched]:
    """The page in a window of its own; `options` are those of the window."""
    context = browser.new_context(**options)
    try:
        yield Watched(context, path)
    finally:
        context.close()
