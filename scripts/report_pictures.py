"""Makes pictures of the report, of real runs: `python scripts/report_pictures.py`, into docs/img.

Needs Playwright and Debian's Chromium.
"""

from __future__ import annotations

import inspect
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import penstock
from penstock import Context, Flow, RetryPolicy, RunOptions, each, gather, use
from penstock.draw.svg import svg
from penstock.report.collect import collect
from penstock.report.page import page

IMG = Path(__file__).resolve().parents[1] / "docs" / "img"
DAY = "2026-03-01"
STAGES = (("trim", 0.06), ("align", 0.24), ("sort", 0.07), ("dedup", 0.05), ("count", 0.04), ("qc", 0.03))

# name of the run, width, colours, where the picture begins, its height
SHOTS: tuple[tuple[str, int, Any, str, int], ...] = (
    ("failed", 1280, "light", "body", 1330),
    ("failed", 1280, "dark", "#graph", 1420),
    ("failed", 390, "light", "body", 1500),
    ("small", 1920, "light", "body", 1330),
    ("resumed", 1280, "dark", "#time", 560),
    ("survey", 1280, "light", "body", 1500),
    ("survey", 1920, "dark", "#time", 900),
    ("survey", 390, "dark", "#time", 1300),
)

log = logging.getLogger("warehouse.client")


def sales(fails: bool = False, dies: bool = False) -> Flow:
    """Eight steps, one of them once per page."""
    flow = Flow("sales")

    @flow.step
    def fetch(day: str) -> list[int]:
        time.sleep(1.1)
        return list(range(18))

    @flow.step
    def rates(day: str) -> float:
        time.sleep(0.5)
        return 1.08

    @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.2))
    def parse(context: Context, page: int = each(fetch)) -> int:
        time.sleep(0.25 + (page * 7 % 5) / 8)
        if page == 7 and context.attempt == 1:
            raise OSError("disk busy")
        return page * 10

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.3))
    def load(context: Context, rate: float = use(rates)) -> int:
        context.log("opening the day", day=DAY, page=3)
        print("rows so far: 12,004")
        time.sleep(1.2)
        if fails:
            log.warning("slow answer from warehouse:5432")
            raise ConnectionError("warehouse:5432 refused the connection")
        return 12_004

    @flow.step
    def convert(pages: list[int] = gather(parse), rows: int = use(load)) -> dict[str, int]:
        time.sleep(0.7)
        if dies:
            os._exit(9)
        return {"north": 1204, "south": 988}

    @flow.step
    def totals(sales: dict[str, int] = use(convert)) -> dict[str, int]:
        time.sleep(0.6)
        return sales

    @flow.step
    def chart(sales: dict[str, int] = use(convert)) -> str:
        time.sleep(1.5)
        return "chart.png"

    @flow.step
    def publish(totals: dict[str, int] = use(totals), chart: str = use(chart)) -> str:
        time.sleep(0.3)
        return f"https://intranet/sales/{DAY}"

    return flow


def survey() -> Flow:
    """Eighty-three samples that go through six steps each, and what is made of all."""
    chance, flow = random.Random(3), Flow("genome survey")
    retry = RetryPolicy(max_attempts=2, initial_delay=0.1)

    def add(name: str, needs: list[Any], took: float, fails: int = 0, dies: bool = False) -> Any:
        def body(context: Context, **given: int) -> int:
            time.sleep(took)
            if context.attempt <= fails:
                raise OSError("node 7 went away")
            if dies:
                raise ValueError(f"{name}: only 12 reads are left of 40,000")
            return 1

        only = inspect.Parameter.KEYWORD_ONLY
        wired = [inspect.Parameter(f"n{at}", only, default=use(need)) for at, need in enumerate(needs)]
        context = inspect.Parameter("context", only, annotation=Context)
        body.__signature__ = inspect.Signature([context, *wired])  # type: ignore[attr-defined]
        body.__annotations__ = {"context": Context}
        return flow.step(body, name=name, retry=retry)  # type: ignore[call-overload]

    sheet, reference = add("samplesheet", [], 0.2), add("reference", [], 0.5)
    counts, checks = [], []
    for number in range(1, 84):
        before = sheet
        for stage, typical in STAGES:
            took, fails = typical * chance.lognormvariate(0, 0.5), int(chance.random() < 0.015)
            needs = [before, reference] if stage == "align" else [before]
            made = add(f"{stage}_{number:03}", needs, took, fails, stage == "qc" and number in (17, 40))
            if stage == "qc":
                checks.append(made)
            else:
                before = made
        counts.append(before)
    model = add("model", [add("merge", counts, 0.4)], 0.9, 1)
    add("summary", [model], 0.2)
    add("multiqc", checks, 0.3)
    return flow


def make(name: str, folder: Path) -> None:
    """Runs a flow, and writes its report."""
    store = str(folder / f"{name}.db")
    options = RunOptions(max_concurrency=4, tags={"team": "sales", "why": "nightly"}, profile=True)
    match name:
        case "survey":
            options = RunOptions(max_concurrency=16, tags={"cohort": "B"}, profile=True)
            survey().run(store=store, options=options)
        case "resumed":
            again = f"sales(dies=True).run(store={store!r}, run_id='tuesday', day={DAY!r}, options=options)"
            lines = f"from scripts.report_pictures import *; options = RunOptions(max_concurrency=4); {again}"
            subprocess.run([sys.executable, "-c", lines], cwd=IMG.parents[1], check=False)
            time.sleep(40)
            sales().run(store=store, run_id="tuesday", day=DAY, options=options)
        case _:
            sales(fails=name == "failed").run(store=store, day=DAY, options=options)
    with penstock.open(store) as history:
        report = collect(history.runs()[0], store="runs.db")
    drawn = svg(report.outline, statuses=report.standings)
    text = page(report, drawn, version=penstock.__version__)
    text = text.replace(f"{Path(__file__).parent}/", "/home/ana/shop/")  # not where the pictures were made
    text = text.replace("scripts/report_pictures.py", "shop/flows.py").replace(
        "report_pictures.py", "flows.py"
    )
    (folder / f"{name}.html").write_text(text, "utf-8")


def shoot(folder: Path) -> None:
    """Takes the pictures."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        for name, wide, colours, where, high in SHOTS:
            shown = browser.new_page(viewport={"width": wide, "height": 1000}, color_scheme=colours)
            shown.goto((folder / f"{name}.html").as_uri())
            whole = shown.evaluate("document.documentElement.scrollHeight")
            top = 0 if where == "body" else shown.locator(where).evaluate("one => one.offsetTop") + 22
            box = {"x": 0, "y": top, "width": wide, "height": min(high, whole - top)}
            path = IMG / f"report-{name}-{wide}-{colours}.png"
            shown.screenshot(path=path, full_page=True, clip=box)  # type: ignore[arg-type]
            shown.close()
        browser.close()


def main() -> None:
    """Makes all of them."""
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(name for name, *_ in SHOTS):
            make(name, Path(folder))
        shoot(Path(folder))


if __name__ == "__main__":
    main()
