"""Traces, as a collector receives them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

import penstock
from penstock import each, events, gather, use
from tests.observers import tracing_steps
from tests.observers.otlp import Receiver, receiving, traced


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def run(flow: penstock.Flow, provider: Any, *more: Any, **how: Any) -> penstock.FlowResult:
    options = penstock.RunOptions(observers=[penstock.tracing(provider), *more], **how.pop("options", {}))
    return flow.run(options=options, **how)


def orders(*, broken: bool = False) -> penstock.Flow:
    flow = penstock.Flow("orders")

    @flow.step
    def read() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def parse(number: int = each(read)) -> int:
        return number * 2

    @flow.step
    def price(number: int = use(parse)) -> int:
        return number + 1

    @flow.step
    def total(prices: list[int] = gather(price)) -> int:
        if broken:
            raise ValueError("the till is empty")
        return sum(prices)

    @flow.step
    def report(total: int) -> str:
        return f"{total}"

    return flow


def test_a_run_has_a_span_and_so_have_its_steps_items_and_attempts(receiver: Receiver) -> None:
    with traced(receiver) as provider:
        result = run(orders(), provider, options={"tags": {"day": "monday"}})
    root = receiver.one("run orders")
    assert root.parent == b""
    assert root.said == {
        "run.id": result.run_id, "flow": "orders", "status": "succeeded", "tag.day": "monday"
    }  # fmt: skip
    assert {span.trace for span in receiver.spans} == {root.trace}
    assert sorted(span.name for span in receiver.spans) == sorted(
        ["run orders"]
        + [f"{kind} {id}" for id in ("read", "total", "report") for kind in ("step", "attempt")]
        + [f"{kind} {id}" for id in ("parse", "price") for kind in ("item", "attempt") for _ in range(3)]
        + ["step parse", "step price"]
    )
    for span in receiver.spans:
        above = receiver.above(span)
        if span is not root:
            assert above is not None
            expected = {"step": "run", "item": "step", "attempt": "item" if "path" in span.said else "step"}
            assert above.name.split()[0] == expected[span.name.split()[0]], span
            assert above.said.get("step") in (None, span.said["step"])
            assert span.said["run.id"] == result.run_id
            assert span.error is None
    assert receiver.one("attempt price", path="price[1]").said["attempt"] == 1
    assert receiver.one("step parse").said == {
        "run.id": result.run_id, "flow": "orders", "step": "parse", "items": 3, "failed": 0
    }  # fmt: skip


def test_links_lead_to_what_was_taken(receiver: Receiver) -> None:
    with traced(receiver) as provider:
        run(orders(), provider)
    named = {
        span.said.get("path", span.name): [one.said.get("path", one.name) for one in receiver.linked(span)]
        for span in receiver.spans
        if span.name.split()[0] in ("step", "item")
    }
    assert named == {
        "step read": [],
        "step parse": [],
        "step price": [],
        **{f"parse[{i}]": ["step read"] for i in range(3)},
        **{f"price[{i}]": [f"parse[{i}]"] for i in range(3)},
        "step total": ["step price", *[f"price[{i}]" for i in named_order(receiver)]],
        "step report": ["step total"],
    }


def named_order(receiver: Receiver) -> list[int]:
    """The items of `price`, as they ended."""
    items = sorted(receiver.all("item price"), key=lambda span: span.ended)
    return [int(span.said["path"][6:-1]) for span in items]


def test_links_to_the_items_of_a_map_are_bounded(receiver: Receiver) -> None:
    flow = penstock.Flow("wide")

    @flow.step
    def numbers() -> list[int]:
        return list(range(500))

    @flow.step
    def same(number: int = each(numbers)) -> int:
        return number

    @flow.step
    def total(found: list[int] = gather(same)) -> int:
        return sum(found)

    with traced(receiver) as provider:
        run(flow, provider)
    assert len(receiver.all("item same")) == 500
    assert receiver.one("step same").said["items"] == 500
    assert len(receiver.one("step total").links) == 128


def test_times_are_those_of_the_events(receiver: Receiver) -> None:
    told: list[Any] = []
    with traced(receiver) as provider:
        run(orders(), provider, told.append)
    for event in told:
        if isinstance(event, events.NodeSucceeded):
            said = {"path": str(event.path)} if event.path.items else {"step": event.path.node}
            span = receiver.one(f"attempt {event.path.node}", **said)
            assert (span.began, span.ended) == (int(event.began * 1e9), int(event.ended * 1e9))
            above = receiver.above(span)
            assert above is not None
            assert (above.began, above.ended) == (span.began, span.ended)
        elif isinstance(event, events.RunStarted):
            assert receiver.one("run orders").began == int(event.at * 1e9)
        elif isinstance(event, events.RunFinished):
            assert receiver.one("run orders").ended == int(event.at * 1e9)


def test_a_failure_is_an_error_with_its_exception_and_what_follows_is_told(receiver: Receiver) -> None:
    secret = penstock.Secret("canary-0815")
    flow = penstock.Flow("payments")

    @flow.step
    def pay(token: penstock.Secret[str]) -> int:
        raise ValueError(f"refused: {token.reveal()}")

    @flow.step
    def book(pay: int) -> int:
        return pay

    with traced(receiver) as provider:
        run(flow, provider, token=secret)
    for name in ("step pay", "attempt pay"):
        span = receiver.one(name)
        assert span.error == "ValueError: refused: ***"
        assert (span.said["status"], span.said["reason"]) == ("failed", "error")
    ((name, said),) = receiver.one("attempt pay").events
    assert name == "exception"
    assert (said["exception.type"], said["exception.message"]) == ("ValueError", "refused: ***")
    assert "raise ValueError" in said["exception.stacktrace"]
    assert "canary-0815" not in repr(said)
    root = receiver.one("run payments")
    assert root.error == "the run failed"
    assert root.said["skipped"] == 1
    assert root.events == [
        (
            "skipped",
            {"penstock.path": "book", "penstock.reason": "upstream", "penstock.because": "pay"},
        )
    ]
    assert receiver.all("step book") == []


def test_each_retry_is_an_attempt_of_its_own(receiver: Receiver) -> None:
    flow = penstock.Flow("flaky")
    tries: list[int] = []

    @flow.step(retry=penstock.RetryPolicy(max_attempts=3, initial_delay=0.01, jitter="none"))
    def fetch() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("try again")
        return "got it"

    with traced(receiver) as provider:
        run(flow, provider)
    attempts = sorted(receiver.all("attempt fetch"), key=lambda span: span.began)
    assert [span.said["attempt"] for span in attempts] == [1, 2, 3]
    assert [span.error for span in attempts] == ["ConnectionError: try again"] * 2 + [None]
    assert attempts[0].said["retry.delay"] == pytest.approx(0.01, abs=1e-4)
    assert all(span.said["queued"] >= 0 for span in attempts)
    step = receiver.one("step fetch")
    assert (step.said["retries"], step.said["status"], step.error) == (2, "succeeded", None)
    assert (step.began, step.ended) == (attempts[0].began, attempts[2].ended)
    assert {span.parent for span in attempts} == {step.id}


def test_time_in_the_queue_begins_when_all_needs_have_ended(receiver: Receiver) -> None:
    flow = penstock.Flow("narrow")

    @flow.step
    def first() -> int:
        return 1

    @flow.step
    def second() -> int:
        return 2

    told: list[Any] = []
    with traced(receiver) as provider:
        run(flow, provider, told.append, options={"max_concurrency": 1})
    ends = [event for event in told if isinstance(event, events.NodeSucceeded)]
    began = next(event.at for event in told if isinstance(event, events.RunStarted))
    late = receiver.one(f"attempt {ends[1].path.node}")
    assert late.said["queued"] == pytest.approx(ends[1].began - began)
    assert late.said["queued"] >= ends[0].ended - ends[0].began


def test_time_in_the_queue_is_not_the_time_of_those_before(receiver: Receiver) -> None:
    told: list[Any] = []
    with traced(receiver) as provider:
        run(orders(), provider, told.append)
    done = {str(event.path): event for event in told if isinstance(event, events.NodeSucceeded)}
    for path, need in (("parse[1]", "read"), ("price[2]", "parse[2]"), ("report", "total")):
        said = {"path": path} if "[" in path else {}
        span = receiver.one(f"attempt {path.partition('[')[0]}", **said)
        assert span.said["queued"] == pytest.approx(done[path].began - done[need].ended, abs=1e-6)
    last = max(done[f"price[{i}]"].ended for i in range(3))
    total = receiver.one("attempt total")
    assert total.said["queued"] == pytest.approx(done["total"].began - last, abs=1e-6)


def test_the_callers_span_is_the_parent_of_the_run(receiver: Receiver) -> None:
    with traced(receiver) as provider:
        with provider.get_tracer("app").start_as_current_span("request"):
            run(orders(), provider)
            handle = orders().start(options=penstock.RunOptions(observers=[penstock.tracing(provider)]))
        handle.result()
    assert {span.parent for span in receiver.all("run orders")} == {receiver.one("request").id}
    assert len(receiver.all("run orders")) == 2


def test_one_tracing_follows_many_runs_at_the_same_time(receiver: Receiver) -> None:
    meet = threading.Barrier(2)
    flow = penstock.Flow("twin")

    @flow.step
    def wait(name: str) -> str:
        meet.wait(30)
        return name

    with traced(receiver) as provider:
        options = penstock.RunOptions(observers=[penstock.tracing(provider)])
        handles = [flow.start(options=options, name=name) for name in ("a", "b")]
        ids = {handle.result().run_id for handle in handles}
    assert {span.said["run.id"] for span in receiver.all("run twin")} == ids
    for span in receiver.all("attempt wait"):
        step = receiver.above(span)
        assert step is not None
        root = receiver.above(step)
        assert root is not None
        assert root.said["run.id"] == span.said["run.id"]


# --- within steps -------------------------------------------------------------------------------------------


def test_s24_within_a_step_its_attempt_is_the_current_span_wherever_it_runs(receiver: Receiver) -> None:
    flow = penstock.Flow("places")
    flow.add(tracing_steps.where, name="thread")
    flow.add(tracing_steps.where, name="inline", runner="inline")
    flow.add(tracing_steps.where_async, name="task")
    flow.add(tracing_steps.where, name="process", runner="processes")
    flow.add(tracing_steps.stream, name="stream")
    flow.add(tracing_steps.stream_async, name="streams")
    flow.add(tracing_steps.stream, name="afar", runner="processes")
    token = context.attach(baggage.set_baggage("customer", "ada"))
    try:
        with traced(receiver) as provider:
            result = run(flow, provider)
    finally:
        context.detach(token)
    result.raise_for_failure()
    for id in ("thread", "inline", "task", "process", "stream", "streams", "afar"):
        span = receiver.one(f"attempt {id}")
        here = (span.trace.hex(), span.id.hex(), "ada")
        found = result[id]
        assert found == ([here, here] if isinstance(found, list) else here), id


def test_s24_what_the_users_code_records_is_below_its_attempt(receiver: Receiver) -> None:
    flow = penstock.Flow("own")

    with traced(receiver) as provider:
        tracer = provider.get_tracer("app")

        @flow.step
        def read() -> list[int]:
            return [1, 2, 3, 4]

        @flow.step(retry=penstock.RetryPolicy(max_attempts=2, initial_delay=0.0))
        async def query(number: int = each(read)) -> int:
            span = trace.get_current_span()
            span.set_attribute("rows", number)
            span.add_event("asked", {"number": number})
            with tracer.start_as_current_span("select") as inner:
                inner.set_attribute("number", number)
            if number == 3:
                raise ValueError("no")
            return number

        run(flow, provider, options={"on_failure": "continue"})
    selects = receiver.all("select")
    assert len(selects) == 5
    for span in selects:
        attempt = receiver.above(span)
        assert attempt is not None
        assert attempt.name == "attempt query"
        assert attempt.said["rows"] == span.said["number"]
        assert attempt.events[0] == ("asked", {"number": span.said["number"]})
    third = [span for span in receiver.all("attempt query") if span.said["rows"] == 3]
    assert sorted(span.said["attempt"] for span in third) == [1, 2]


def test_s24_nothing_is_left_current_behind_a_step(receiver: Receiver) -> None:
    flow = penstock.Flow("after")
    flow.add(tracing_steps.where, name="first", runner="inline")
    with traced(receiver) as provider:
        run(flow, provider)
        assert not trace.get_current_span().get_span_context().is_valid


# --- what tracing must not do -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, 404])
def test_s02_a_receiver_that_refuses_does_not_hurt_the_run(status: int) -> None:
    with receiving(lambda: status) as receiver:
        provider = TracerProvider(shutdown_on_exit=False)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces", timeout=1)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))
        result = run(orders(), provider)
        assert result.status is penstock.RunStatus.SUCCEEDED
        assert result.warnings == ()
        provider.shutdown()
    assert receiver.spans == []


def test_s02_a_receiver_that_hangs_does_not_hurt_the_run() -> None:
    asked, go = threading.Event(), threading.Event()

    def hang() -> int:
        asked.set()
        go.wait(60)
        return 200

    with receiving(hang) as receiver:
        try:
            with traced(receiver) as provider:
                flow = orders()
                run(flow, provider)
                threading.Thread(target=provider.force_flush, daemon=True).start()
                assert asked.wait(30)
                result = run(flow, provider)  # while the exporter waits
                assert result.status is penstock.RunStatus.SUCCEEDED
                assert result.warnings == ()
                go.set()
        finally:
            go.set()
        assert len(receiver.all("run orders")) == 2


def test_s02_a_tracer_that_raises_is_named_and_the_run_goes_on(receiver: Receiver) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: Any) -> None:
            raise RuntimeError("out of order")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    result = run(orders(), provider)
    assert result["report"] == "15"
    assert any("out of order" in warning for warning in result.warnings)


def test_nothing_of_opentelemetry_is_loaded_when_it_is_off() -> None:
    code = """
import sys, penstock
flow = penstock.Flow("f")
@flow.step
def one() -> int: return 1
flow.run(options=penstock.RunOptions(observers=[print], capture=True))
penstock.cli = __import__("penstock.cli")
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_without_opentelemetry_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("penstock.observers.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(penstock.InputError, match=r"pip install 'penstock\[otel\]'"):
        penstock.tracing()


# --- samplers, processors, other makes ----------------------------------------------------------------------


def test_a_trace_that_is_not_sampled_is_not_recorded_and_what_is_inside_knows(receiver: Receiver) -> None:
    flow = penstock.Flow("quiet")
    seen: list[bool] = []

    with traced(receiver, sampler=ALWAYS_OFF) as provider:

        @flow.step
        def one() -> int:
            span = trace.get_current_span()
            span.set_attribute("x", 1)
            seen.append(span.is_recording() or span.get_span_context().trace_flags.sampled)
            return 1

        run(flow, provider).raise_for_failure()
    assert seen == [False]
    assert receiver.spans == []


def test_a_sampler_that_looks_at_names_is_asked_for_every_span(receiver: Receiver) -> None:
    class OnlySteps(Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> Any:
            wanted = not name.startswith("attempt")
            return SamplingResult(Decision.RECORD_AND_SAMPLE if wanted else Decision.DROP, {"asked": name})

        def get_description(self) -> str:
            return "OnlySteps"

    with traced(receiver, sampler=OnlySteps()) as provider:
        run(orders(), provider)
    assert {span.name.split()[0] for span in receiver.spans} == {"run", "step", "item"}
    assert all(span.said["asked"] == span.name for span in receiver.spans)


def test_processors_see_every_span_begin_and_may_add_to_it(receiver: Receiver) -> None:
    class Stamp(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("team", "till")

    with traced(receiver) as provider:
        provider.add_span_processor(Stamp())
        run(orders(), provider)
    assert {span.said["team"] for span in receiver.spans} == {"till"}


def test_a_tracer_of_another_make_is_asked_in_the_usual_way(receiver: Receiver) -> None:
    class Foreign(trace.TracerProvider):
        def __init__(self, inner: trace.TracerProvider) -> None:
            self.inner = inner

        def get_tracer(self, *args: Any, **named: Any) -> trace.Tracer:
            tracer = self.inner.get_tracer(*args, **named)

            class Wrapped(trace.Tracer):
                def start_span(self, *args: Any, **named: Any) -> trace.Span:
                    return tracer.start_span(*args, **named)

                def start_as_current_span(self, *args: Any, **named: Any) -> Any:
                    return tracer.start_as_current_span(*args, **named)

            return Wrapped()

    flow = orders(broken=True)
    flow.add(tracing_steps.where, name="place")
    with traced(receiver) as provider:
        result = run(flow, Foreign(provider), options={"on_failure": "continue"})
    assert receiver.one("run orders").error == "the run failed"
    assert receiver.one("attempt total").error == "ValueError: the till is empty"
    assert receiver.one("attempt total").events[0][0] == "exception"
    assert len(receiver.all("item price")) == 3
    place = receiver.one("attempt place")
    assert result["place"][1] == place.id.hex()
    above = receiver.above(place)
    assert above is not None
    assert above.name == "step place"
