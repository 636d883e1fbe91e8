"""The system's Chromium, headless, for tests of pages; nothing of it is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@dataclass
class Opened:
    """A page that is drawn, and what it did on the way.

    Attributes:
        page: Playwright's.
        said: errors and warnings of the console, and exceptions.
        asked: addresses that it asked for, but its own file.
    """

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none."""
    program = os.environ.get("RAYWCE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path, size: str, scheme: str, drawn: bool = True) -> Iterator[Opened]:
    """A file in a window of that size and colour scheme, once its plots are drawn, or without waiting for them."""
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, has_touch=size == "phone")
    found = Opened(context.new_page())
    address = file.resolve().as_uri()

    def route(way: Any) -> None:
        if way.request.url == address or way.request.url.startswith(("data:", "blob:")):
            way.continue_()
        else:
            found.asked.append(way.request.url)
            way.abort()

    context.route("**/*", route)
    page = found.page
    page.on("console", lambda message: found.said.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: found.said.append(f"dialog: {dialog.message}") or dialog.dismiss())
    page.goto(address)
    if drawn:
        page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)
    yield found
    context.close()
