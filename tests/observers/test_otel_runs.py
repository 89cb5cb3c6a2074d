"""Traces of runs that do not simply go through, metrics, and traces of the command line."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider

import penstock
from penstock import each, fold
from penstock.core.graph import Graph
from penstock.core.ports import Upcoming
from tests.observers.otlp import Receiver, receiving, traced


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def options(provider: Any, meters: Any = None, **more: Any) -> penstock.RunOptions:
    return penstock.RunOptions(observers=[penstock.tracing(provider, meters)], **more)


def test_a_resumed_run_is_a_new_trace_of_the_same_run(receiver: Receiver, tmp_path: Path) -> None:
    flow = penstock.Flow("bills")
    broken = [True]

    @flow.step
    def load() -> int:
        return 1

    @flow.step
    def book(load: int) -> int:
        if broken:
            raise ValueError("closed")
        return load

    store = tmp_path / "runs.db"
    with traced(receiver) as provider:
        flow.run(store=store, run_id="may", options=options(provider))
        broken.clear()
        result = flow.run(store=store, run_id="may", options=options(provider))
    assert result["book"] == 1
    first, second = receiver.all("run bills")
    assert first.said["run.id"] == second.said["run.id"] == "may"
    assert first.trace != second.trace
    assert ("resumed" in first.said, second.said["resumed"]) == (False, True)
    assert (first.said["status"], second.said["status"]) == ("failed", "succeeded")
    assert second.began >= first.ended
    assert len(receiver.all("step load")) == 1
    attempts = receiver.all("attempt book")
    assert [span.trace for span in attempts] == [first.trace, second.trace]


def test_a_run_that_waits_is_put_down_and_its_spans_are_ended(receiver: Receiver, tmp_path: Path) -> None:
    flow = penstock.Flow("asks")

    @flow.step
    def cost() -> int:
        return 5

    flow.gate("ok", prompt="Spend it?", after=[cost])
    with traced(receiver) as provider:
        result = flow.run(store=tmp_path / "runs.db", options=options(provider))
    assert result.status is penstock.RunStatus.WAITING
    root = receiver.one("run asks")
    assert (root.said["status"], root.error) == ("waiting", None)
    gate = receiver.one("step ok")
    assert gate.said["status"] == "waiting"
    assert gate.parent == root.id
    assert receiver.all("attempt ok") == []


def test_a_run_that_is_cut_off_has_a_span_all_the_same(receiver: Receiver) -> None:
    with traced(receiver) as provider:
        observer: Any = penstock.tracing(provider)
        one = observer.for_run(Upcoming("gone", Graph("lost", [])))
        shape = (("work", ()),)
        one(penstock.events.RunStarted("gone", "lost", shape, 1, {}, None, (), {}, {}, None, 100.0))
        one(penstock.events.NodeStarted(penstock.events.NodePath("work"), 1, 101.0))
        one.end_of_run()
        one.end_of_run()
    assert receiver.one("run lost").said["status"] == "cut off"


def test_a_cancelled_run_says_why(receiver: Receiver) -> None:
    flow = penstock.Flow("long")
    began = threading.Event()

    @flow.step
    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    @flow.step
    def after(work: None) -> None: ...

    with traced(receiver) as provider:
        handle = flow.start(options=options(provider))
        assert began.wait(30)
        handle.cancel("the boss said so")
        handle.result()
    root = receiver.one("run long")
    assert (root.said["status"], root.said["reason"], root.error) == ("cancelled", "the boss said so", None)
    assert [name for name, _ in root.events] == ["cancel asked", "skipped"]
    for span in (receiver.one("step work"), receiver.one("attempt work")):
        assert (span.said["status"], span.error) == ("cancelled", None)


def test_the_rest_of_a_map_that_is_skipped_is_one_event(receiver: Receiver) -> None:
    flow = penstock.Flow("stops")

    @flow.step
    def numbers() -> list[int]:
        return list(range(1_000))

    @flow.step
    def check(number: int = each(numbers)) -> int:
        raise ValueError(number)

    with traced(receiver) as provider:
        flow.run(options=options(provider, max_concurrency=1))
    root = receiver.one("run stops")
    assert root.said["skipped"] == 999
    assert len(root.events) < 10
    assert sum(said.get("penstock.items", 1) for _, said in root.events) == 999


def test_a_fold_has_a_span_for_each_slice_and_no_orphans(receiver: Receiver) -> None:
    flow = penstock.Flow("sums")

    @flow.step
    def numbers() -> list[int]:
        return list(range(50))

    @flow.step
    def double(number: int = each(numbers)) -> int:
        return 2 * number

    def add(so_far: int, item: int) -> int:
        return so_far + item

    @flow.step
    def total(found: int = fold(double, add, initial=0)) -> int:
        return found

    with traced(receiver) as provider:
        result = flow.run(options=options(provider, max_concurrency=2))
    assert result["total"] == 2450
    slices = receiver.all("attempt total.found")
    step = receiver.one("step total.found")
    assert {span.parent for span in slices} == {step.id}
    assert [span.said["status"] for span in slices].count("succeeded") == 1
    assert {span.said["status"] for span in slices} <= {"succeeded", "folded"}
    assert step.began <= min(span.began for span in slices)
    known = {span.id for span in receiver.spans}
    assert all(not span.parent or span.parent in known for span in receiver.spans)


def test_values_that_are_given_have_a_step_and_no_attempt(receiver: Receiver) -> None:
    flow = penstock.Flow("given")

    @flow.step
    def slow() -> int:
        raise AssertionError("it is not run")

    @flow.step
    def use_it(slow: int) -> int:
        return slow + 1

    with traced(receiver) as provider:
        assert flow.run(override={slow: 4}, options=options(provider))["use_it"] == 5
    assert receiver.one("step slow").said["source"] == "override"
    assert receiver.all("attempt slow") == []


def test_what_an_attempt_has_used_is_in_its_span(receiver: Receiver) -> None:
    flow = penstock.Flow("measured")

    @flow.step
    def work() -> int:
        return sum(range(100_000))

    with traced(receiver) as provider:
        flow.run(options=options(provider, profile=True))
    assert receiver.one("attempt work").said["cpu"] > 0


# --- metrics ------------------------------------------------------------------------------------------------


def test_attempts_are_counted_and_measured(receiver: Receiver) -> None:
    flow = penstock.Flow("counted")
    tries: list[int] = []
    seen: list[Any] = []
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{receiver.url}/v1/metrics"), export_interval_millis=3_600_000
    )
    meters = MeterProvider([reader], shutdown_on_exit=False)

    @flow.step(retry=penstock.RetryPolicy(max_attempts=3, initial_delay=0.0))
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("again")
        return 1

    @flow.step
    def look(flaky: int) -> int:
        meters.force_flush()
        seen.extend(receiver.metrics.get("penstock.attempts.in_flight", []))
        return flaky

    with traced(receiver) as provider:
        flow.run(options=options(provider, meters))
        flow.run(options=options(provider, meters))
    meters.force_flush()
    meters.shutdown()
    of = {"penstock.flow": "counted"}
    flaky_ok = {**of, "penstock.step": "flaky", "penstock.outcome": "succeeded"}
    failed = {**of, "penstock.step": "flaky", "penstock.outcome": "failed"}
    looked = {**of, "penstock.step": "look", "penstock.outcome": "succeeded"}
    found = receiver.metrics
    assert sorted(found["penstock.attempts"], key=repr) == sorted(
        [(flaky_ok, 2), (failed, 2), (looked, 2)], key=repr
    )
    assert found["penstock.retries"] == [({**of, "penstock.step": "flaky"}, 2)]
    assert found["penstock.attempts.in_flight"] == [(of, 0)]
    assert seen[0][0] == of
    assert seen[0][1] in (0, 1)  # observers stand aside, and may not have heard of it yet
    counts = {repr(said): count for said, (count, _) in found["penstock.attempt.duration"]}
    assert counts == {repr(said): 2 for said in (failed, flaky_ok, looked)}
    queued = {said["penstock.step"]: count for said, (count, _) in found["penstock.attempt.queue"]}
    assert queued == {"flaky": 4, "look": 2}


def test_attempts_are_in_flight_from_hand_out_to_end() -> None:
    observer: Any = penstock.tracing(TracerProvider(shutdown_on_exit=False))
    one = observer.for_run(Upcoming("r", Graph("counted", [])))
    path, other = penstock.events.NodePath("a"), penstock.events.NodePath("b", (1,))
    failure = penstock.Failure("error", "ValueError", "no")
    seen = []
    for event in (
        penstock.events.RunStarted("r", "counted", (), 1, {}, None, (), {}, {}, None, 1.0),
        penstock.events.NodeStarted(path, 1, 2.0),
        penstock.events.NodeStarted(other, 1, 2.0),
        penstock.events.NodeRetrying(path, 1, failure, 4.0, 2.0, 3.0),
        penstock.events.NodeStarted(path, 2, 4.0),
        penstock.events.NodeInterrupted(path, 2),
        penstock.events.NodeStarted(path, 3, 4.0),
        penstock.events.NodeCancelled(path, 3, None, 4.0, 5.0),
        penstock.events.NodeSucceeded(other, 1, None, None, "run", 2.0, 5.0),
    ):
        one(event)
        seen.append(one.in_flight)
    assert seen == [0, 1, 2, 1, 2, 1, 2, 1, 0]


# --- the command line ---------------------------------------------------------------------------------------

FLOW = """\
from opentelemetry import trace
from penstock import Flow

flow = Flow("shop")

@flow.step
def work() -> int:
    with trace.get_tracer("mine").start_as_current_span("inside"):
        return 1
"""


def call(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text(FLOW)
    known = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", "run", "shop.py", "--no-store", *words],
        cwd=folder,
        env={**known, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_line_sends_traces_where_the_variables_say(receiver: Receiver, tmp_path: Path) -> None:
    done = call(tmp_path, "--trace", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_METRICS_EXPORTER="otlp")
    assert done.returncode == 0, done.stderr
    inside = receiver.one("inside")
    attempt = receiver.above(inside)
    assert attempt is not None
    assert attempt.name == "attempt work"
    assert receiver.one("run shop").said["status"] == "succeeded"
    assert receiver.metrics["penstock.attempts"][0][1] == 1


def test_the_command_line_can_show_traces(tmp_path: Path) -> None:
    done = call(tmp_path, "--trace", OTEL_TRACES_EXPORTER="console")
    assert '"name": "attempt work"' in done.stdout


def test_s02_the_command_line_ends_where_nobody_takes_the_traces(tmp_path: Path) -> None:
    with socket.socket() as taken:  # listens, and never answers
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = call(tmp_path, "--trace", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert done.returncode == 0
    assert "not all of the trace was taken within 5 seconds" in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "jager"}, "no exporter of traces called 'jager' is installed"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
            "there is no protocol 'smoke' (one of http/protobuf, grpc)",
        ),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    done = call(tmp_path, "--trace", **variables)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
