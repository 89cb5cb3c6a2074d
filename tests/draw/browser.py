"""Debian's Chromium, for tests that look at what a person would see."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu"]


@contextmanager
def opened(**options: Any) -> Iterator[Any]:
    """A page of a browser that reaches nothing outside of it; `page.left` are the addresses it asked for.

    Args:
        options: For the page: `color_scheme`, `viewport`.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("program missing: chromium")
    api = pytest.importorskip("playwright.sync_api", reason="program missing: playwright")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        try:
            page = browser.new_page(**options)
            page.left = []

            def block(route: Any) -> None:
                page.left.append(route.request.url)
                route.abort()

            page.route("**/*", block)
            yield page
        finally:
            browser.close()
