"""Take pictures of a page in Chromium: 390, 1280 and 1920 pixels wide, light and dark.

    python scripts/screenshots.py build/atlas/index.html        # docs/img/atlas-390-light.png and five more
    python scripts/screenshots.py PAGE --out DIR --name NAME --height 0     # 0: the page's whole height

Needs Chromium or Chrome on the path and nothing else: it is spoken to over its debugging pipe. The script
says when the page is wider than the window, and then ends with 1.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTHS = (390, 1280, 1920)
SCHEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """One tab, driven by the DevTools protocol: JSON messages, each ended by a zero byte."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        answer = self._next(lambda message: message.get("id") == self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self._next(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def _next(self, wanted: Any) -> dict[str, Any]:
        while True:
            while b"\0" not in self._rest:
                more = self._answers.read(1 << 16)
                if not more:
                    raise RuntimeError("the browser closed its pipe")
                self._rest += more
            line, _, self._rest = self._rest.partition(b"\0")
            message: dict[str, Any] = json.loads(line)
            if wanted(message):
                return message


@contextmanager
def browser() -> Iterator[Browser]:
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit(f"screenshots: none of {', '.join(BROWSERS)} is on the path")
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()

    def hand_over() -> None:  # the browser wants its ends as 3 and 4, which may be taken
        spare = [os.dup(os.dup(os.dup(end))) for end in (read_commands, write_answers)]
        for number, end in enumerate(spare, 3):
            os.dup2(end, number)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=hand_over,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        try:
            yield Browser(commands, answers)
        finally:
            process.terminate()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Take pictures of a page, at three widths, light and dark.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    parser.add_argument("--name", default="atlas")
    parser.add_argument("--height", type=int, default=2000, help="cut off below; 0 keeps all (default: 2000)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    too_wide = 0
    with browser() as tab:
        for width in WIDTHS:
            for scheme in SCHEMES:
                wide, high = shoot(tab, given, width, scheme)
                print(f"{given.name}-{width}-{scheme}.png: the page is {wide} × {high}")
                too_wide += wide > width
    if too_wide:
        print(f"screenshots: {too_wide} pictures show a page wider than its window", file=sys.stderr)
    return 1 if too_wide else 0


def shoot(tab: Browser, given: argparse.Namespace, width: int, scheme: str) -> tuple[int, int]:
    phone = width < 600
    tab.ask(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=2 if phone else 1,
        mobile=phone,
    )
    tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.open(given.page.resolve().as_uri())
    wide, high = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": min(high, given.height or high), "scale": 1}
    picture = tab.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
    (given.out / f"{given.name}-{width}-{scheme}.png").write_bytes(base64.b64decode(picture))
    return wide, high


if __name__ == "__main__":
    sys.exit(main())
