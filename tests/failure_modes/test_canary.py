"""A secret that a run was given is found nowhere afterwards: all that a run leaves behind is searched."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import penstock
from penstock import Context, Flow, RetryPolicy, RunOptions, Secret, each
from tests.canary import CANARY, processes, sightings

log = logging.getLogger("of.the.tests")


def leaks(context: Context, token: Secret[str], item: int) -> int:
    """Does with a secret whatever a careless step does, but for returning it."""
    word = token.reveal()
    print("the token is", word)
    print(repr(word), file=sys.stderr)
    log.warning("token=%s", word)
    context.log(f"using {word}", token=token, word=word)
    context.progress(1, 2, f"with {word}")
    if item == 1 or context.attempt == 1:
        raise PermissionError(f"{word} was refused for {{'authorization': {word!r}}}")
    return item


def flow(runner: str) -> Flow:
    made = Flow("careless")
    items = made.add(lambda: [0, 1, 2], name="items", runner="threads")
    made.add(
        leaks,
        name="leaks",
        runner=runner,
        bind={"item": each(items)},
        retry=RetryPolicy(max_attempts=2, initial_delay=0),
    )
    return made


def test_l09_c10_a_secret_is_found_nowhere_after_a_run(tmp_path, capfd):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    store = tmp_path / "runs.db"
    events: list[Any] = []
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    for runner in ("inline", "threads", "processes"):
        options = RunOptions(
            on_failure="continue",
            profile=True,
            capture=True,
            observers=[events.append, penstock.tracing(tracer_provider=provider)],
        )
        given: dict[str, Any] = {"token": Secret(CANARY)}
        result = flow(runner).run(**given, store=store, options=options, run_id=runner)
        assert [one.path for one in result.failed()] == ["leaks[1]"]
        result.report(tmp_path / f"{runner}.html")
        assert list(processes()) == []
    with penstock.open(store) as history:
        for run in history.runs():
            seen = [*run.events(), *run.logs(), *run.inputs.items(), run.node("leaks"), run.attempts("leaks")]
            assert CANARY not in repr(seen)
            assert any("***" in line.message for line in run.logs()), "it was masked, and not just left out"
            history.export(run.run_id, tmp_path / f"{run.run_id}.penstock")
    told = repr([*events, [span.to_json() for span in spans.get_finished_spans()]])
    assert CANARY not in told
    assert "***" in told
    for words in (["runs"], ["show", "threads"], ["show", "threads", "--events"], ["logs", "threads"]):
        command = [sys.executable, "-m", "penstock", *words, "--store", str(store)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert CANARY not in shown.stdout + shown.stderr
    assert list(sightings(tmp_path)) == []
    assert CANARY in capfd.readouterr().out, "what a step prints is its own affair, and goes where it went"


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plain").write_text(f"x{CANARY}y")
    (tmp_path / "pickled").write_bytes(pickle.dumps({"a": CANARY}))
    (tmp_path / "clean").write_text("nothing")
    assert sorted(path.name for path in sightings(tmp_path)) == ["pickled", "plain"]
    for name in ("deep/plain", "pickled"):  # what is left of all tests is searched too
        (tmp_path / name).unlink()
    code, pipe = "print(flush=True); input()", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, CANARY], stdin=pipe, stdout=pipe) as one:
        assert one.stdout is not None
        one.stdout.readline()  # a process that has only just begun has no command line yet
        assert any("cmdline" in seen for seen in processes())
        one.communicate(b"\n")
