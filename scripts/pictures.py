"""Makes the drawings of the gallery: `python scripts/pictures.py [FOLDER OF TRACES]`, into docs/img."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from penstock.core.outline import NodeStanding, Outline, OutlineNode, OutlineScope
from penstock.draw.svg import svg

IMG = Path(__file__).resolve().parents[1] / "docs" / "img"
DONE, LEFT = NodeStanding("succeeded"), NodeStanding("pending")


def step(id: str, *needs: str, **more: Any) -> OutlineNode:
    """A step; a need is written ``how:id``, or just the id."""
    pairs = tuple((how or "use", id) for how, _, id in (need.rpartition(":") for need in needs))
    return OutlineNode(id, needs=pairs)._replace(**more)


def orders() -> Outline:
    """Five steps and a map."""
    return Outline(
        "orders",
        (
            step("files", traits=("volatile",)),
            step("parse", "each:files", scope=1, traits=("3 attempts", "timeout 30 s")),
            step("total", "gather:parse"),
            step("approve", "total", kind="gate", traits=("waits for an answer",)),
            step("publish", "approve", "total", conditional=True),
        ),
        (OutlineScope(-1, ""), OutlineScope(0, "files")),
    )


def orders_standings() -> dict[str, NodeStanding]:
    return {
        "files": DONE,
        "parse": NodeStanding(
            "failed", {"succeeded": 1_781, "failed": 9}, "ValueError: no date in row 7 (parse[12])"
        ),
        "total": DONE,
        "approve": NodeStanding("waiting", note="since Monday"),
        "publish": LEFT,
    }


def nightly() -> Outline:
    """Fifty steps: three sources, each fetched and cleaned, a model, and what is made of it."""
    nodes = [step("config")]
    for name in ("shop", "stock", "web"):
        nodes += [
            step(f"{name}/fetch", "config", traits=("5 attempts", "limit api")),
            step(f"{name}/pages", f"{name}/fetch"),
            step(f"{name}/parse", f"each:{name}/pages", scope=len(nodes) // 6 + 1),
            step(f"{name}/rows", f"gather:{name}/parse"),
            step(f"{name}/types", f"{name}/rows"),
            step(f"{name}/clean", f"{name}/rows", f"{name}/types"),
            step(f"{name}/check", f"{name}/clean", conditional=True),
            step(f"{name}/save", f"{name}/clean", f"after:{name}/check", traits=("limit database",)),
        ]
    nodes += [
        step("join", "shop/save", "stock/save", "web/save"),
        step("calendar", "config"),
        step("features", "join", "calendar"),
        step("split", "features"),
        *(
            step(f"train {kind}", "split", traits=("runner processes",))
            for kind in ("linear", "trees", "net")
        ),
        *(step(f"score {kind}", f"train {kind}", "split") for kind in ("linear", "trees", "net")),
        step("choose", "score linear", "score trees", "score net"),
        step("approve", "choose", kind="gate", traits=("waits for an answer",)),
        step("deploy", "approve", "choose", conditional=True),
        step("forecast", "choose", "features"),
        *(step(f"plan {place}", "forecast", "stock/save") for place in ("north", "south", "east")),
        step("plans", "plan north", "plan south", "plan east"),
        step("prices", "forecast"),
        step("stock-outs", "forecast", "stock/save"),
        *(
            step(f"report {who}", "plans", "prices", *["stock-outs"] * (who == "board"))
            for who in ("buyers", "shops", "board")
        ),
        step("mail", "report buyers", "report shops", "report board"),
        step("clean up", "outcome:mail", "after:deploy", traits=("always",)),
    ]
    sources = [node.needs[0][1] for node in nodes if node.id.endswith("/parse")]
    scopes = (OutlineScope(-1, ""), *(OutlineScope(0, source) for source in sources))
    number = iter(range(1, 4))
    nodes = [node._replace(scope=next(number)) if node.id.endswith("/parse") else node for node in nodes]
    return Outline("nightly", tuple(nodes), scopes)


def genomes(samples: int, parts: int) -> Outline:
    """Samples that each go the same way, in parts of which each goes the same way."""
    nodes = [step("reference"), step("index", "reference")]
    for one in range(1, samples + 1):
        nodes += [step(f"fetch {one}"), step(f"quality {one}", f"fetch {one}")]
        for part in range(1, parts + 1):
            nodes += [
                step(f"trim {one}.{part}", f"fetch {one}"),
                step(f"align {one}.{part}", f"trim {one}.{part}", "index"),
            ]
        nodes += [
            step(f"merge {one}", *(f"align {one}.{part}" for part in range(1, parts + 1))),
            step(f"mark duplicates {one}", f"merge {one}"),
            step(f"call {one}", f"mark duplicates {one}", "reference"),
        ]
    nodes += [
        step("joint calling", *(f"call {one}" for one in range(1, samples + 1))),
        step("filter", "joint calling"),
        step("annotate", "filter", "reference"),
        step("quality report", *(f"after:quality {one}" for one in range(1, samples + 1)), "annotate"),
    ]
    return Outline("genomes", tuple(nodes))


def half_done(outline: Outline) -> dict[str, NodeStanding]:
    """A run in its middle: some failed, and what needs them is skipped."""
    found: dict[str, NodeStanding] = {}
    for at, node in enumerate(outline.nodes):
        above = {found[need].status for _, need in node.needs}
        if above & {"failed", "skipped"}:
            found[node.id] = NodeStanding("skipped")
        elif above - {"succeeded"} or at > 0.9 * len(outline.nodes):
            found[node.id] = LEFT
        elif at % 97 == 30:
            found[node.id] = NodeStanding("failed", note="OSError: no space left on device")
        else:
            found[node.id] = NodeStanding("running") if at % 29 == 28 else DONE
    return found


def trace(path: Path) -> Outline:
    """A workflow that somebody ran."""
    data = json.loads(path.read_text("utf-8"))
    return Outline(data["name"], tuple(step(task["id"], *task["parents"]) for task in data["tasks"]))


def main() -> None:
    """Writes them."""
    made = {
        "drawing-5": svg(orders(), ids_prefix="a"),
        "drawing-5-run": svg(orders(), statuses=orders_standings()),
        "drawing-50": svg(nightly()),
        "drawing-50-run": svg(nightly(), statuses=half_done(nightly())),
        "drawing-50-grouped": svg(nightly(), group=True),
        "drawing-500-run": svg(genomes(26, 7), statuses=half_done(genomes(26, 7))),
        "drawing-2000-run": svg(genomes(80, 10), statuses=half_done(genomes(80, 10))),
    }
    for folder in sys.argv[1:]:
        for name in ("rnaseq", "atacseq", "sarek", "montage-chameleon-dss", "epigenomics"):
            path = next(Path(folder).glob(f"{name}*.json"))
            made[f"drawing-{name.partition('-')[0]}"] = svg(trace(path))
    for name, picture in made.items():
        (IMG / f"{name}.svg").write_text(picture, encoding="utf-8", newline="\n")
        print(f"{name}.svg {len(picture):,}")


if __name__ == "__main__":
    main()
