"""A real notebook kernel: a flow runs in a cell, is interrupted there, and runs again."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

jupyter_client = pytest.importorskip("jupyter_client", reason="program missing: jupyter_client")
pytest.importorskip("ipykernel", reason="program missing: ipykernel")

PATIENCE = 60.0  # seconds until a test fails that waits for the kernel

DEFINE = """
import asyncio, threading, time
from penstock import Context, Flow, RunOptions, each, gather

flow = Flow("cells")

@flow.step
def numbers() -> list[int]:
    return [1, 2, 3]

@flow.step
async def double(number: int = each(numbers)) -> int:
    await asyncio.sleep(0)
    return 2 * number

@flow.step
def total(doubled: list[int] = gather(double)) -> int:
    return sum(doubled)

endless = Flow("endless")

@endless.step
async def wait() -> None:
    print("waiting", flush=True)
    await asyncio.sleep(3600)

@endless.step
def watch(ctx: Context) -> None:
    while not ctx.cancelled:
        time.sleep(0.01)
"""


class Kernel:
    def __init__(self) -> None:
        self.manager, self.client = jupyter_client.manager.start_new_kernel(
            kernel_name="python3", startup_timeout=PATIENCE
        )

    def run(self, code: str, *, interrupt_at: str | None = None) -> str:
        """What a cell prints; the kernel is interrupted as soon as it has printed `interrupt_at`."""
        asked = self.client.execute(code)
        said: list[str] = []
        while True:
            try:
                message: dict[str, Any] = self.client.get_iopub_msg(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"the kernel has not finished; it has said {said}") from None
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
                if interrupt_at is not None and interrupt_at in "".join(said):
                    interrupt_at = None
                    self.manager.interrupt_kernel()
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}\n")
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return "".join(said)

    def shown(self, code: str) -> list[tuple[str, str, dict[str, str]]]:
        """What a cell displays: the kind of each message, the id of its display and its data."""
        asked = self.client.execute(code)
        seen: list[tuple[str, str, dict[str, str]]] = []
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            assert kind != "error", content["evalue"]
            if kind in ("display_data", "update_display_data"):
                seen.append((kind, content["transient"]["display_id"], content["data"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return seen

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    kernel.run(DEFINE)
    yield kernel
    kernel.close()


def test_s20_run_works_in_a_cell_whose_loop_is_running(kernel):
    assert kernel.run("print(flow.run()[total])") == "12\n"


def test_s20_arun_works_in_a_cell(kernel):
    assert kernel.run("print((await flow.arun())[total])") == "12\n"


def test_s20_an_interrupted_cell_ends_in_order_and_the_next_one_runs(kernel):
    """With `run`: a cell that awaits is not woken by this kernel's interrupt, whatever it awaits."""
    said = kernel.run(
        "result = endless.run(options=RunOptions(grace=5))\nprint(result.status.value)",
        interrupt_at="waiting",
    )
    assert said == "waiting\ncancelled\n"
    names = "[t.name for t in threading.enumerate() if t.name.startswith('penstock')]"
    assert kernel.run(f"print({names})") == "[]\n"
    assert kernel.run("print(flow.run()[total])") == "12\n"


def test_a_cell_that_is_run_again_says_which_one_to_run_first(kernel):
    kernel.run("again = Flow('again')")
    cell = "@again.step\ndef b() -> int: return 1\n"
    assert kernel.run(cell) == ""
    said = kernel.run(cell)
    assert said.startswith("GraphError: there are two steps called 'b' (one is at ")
    assert said.endswith(
        ";\nif this cell was run again, run the one with Flow('again') first: it begins an empty flow\n"
    )
    kernel.run("again = Flow('again')")
    assert kernel.run(cell) == ""


SHOWN = """
from penstock import progress
go = threading.Event()
live = Flow("live")

@live.step
def wait() -> bool:
    return go.wait(60)

@live.step
def items(wait: bool) -> list[int]:
    return [1, 2, 3]

@live.step
def work(item: int = each(items)) -> int:
    return 1 // (item - 2)

def let_go(event):
    if type(event).__name__ == "NodeStarted":
        go.set()

options = RunOptions(observers=[progress(), let_go], on_failure="continue")
"""


@pytest.mark.parametrize("call", ["live.run(options=options)", "await live.arun(options=options)"])
def test_a_run_is_shown_below_its_cell_and_the_last_picture_stays(kernel, call):
    kernel.run(SHOWN)
    seen = kernel.shown(f"result = {call}")
    assert seen[0][0] == "display_data"
    assert {kind for kind, _, _ in seen[1:]} == {"update_display_data"}
    assert len({id for _, id, _ in seen}) == 1
    last = seen[-1][2]
    assert "3 items" in last["text/html"]
    assert "1 failed" in last["text/html"]
    assert "ZeroDivisionError" not in kernel.run("print(result.warnings)")
    assert "3 of 3 steps" in last["text/plain"]
    again = kernel.shown(f"result = {call}")
    assert again[0][1] != seen[0][1]
