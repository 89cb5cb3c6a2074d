"""The atlas, killed half-way: it goes on with the files that were not measured yet."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import penstock
from penstock.core.errors import PenstockError

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "stdlib_atlas.py"
FILES = 120
ENOUGH = 20  # files that are measured before the kill
PENSTOCK = [sys.executable, "-m", "penstock.cli"]


def measured(store):
    """Items of `parse` that are done, in the only run of a store; none if there is no run yet."""
    try:
        with penstock.open(store) as history:
            (run,) = history.runs()
            items = run.nodes["parse"].items or ()
            return run, {one.path for one in items if one.status.value == "succeeded"}
    except (PenstockError, ValueError, KeyError):
        return None, set()


def test_f06_a_killed_atlas_goes_on_with_the_files_that_are_left(tmp_path):
    (tmp_path / ".penstock").mkdir(mode=0o700)
    (tmp_path / "examples").symlink_to(EXAMPLE.parent)
    store = tmp_path / ".penstock" / "journal.db"
    words = [*PENSTOCK, "run", "examples/stdlib_atlas.py", "-i", f"limit={FILES}"]
    first = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    done: set[str] = set()
    while len(done) < ENOUGH and first.poll() is None:
        _, done = measured(store)
    os.kill(first.pid, signal.SIGKILL)
    said, _ = first.communicate()
    assert first.returncode == -signal.SIGKILL, said
    run, done = measured(store)
    assert run is not None
    assert run.is_cut_off
    assert ENOUGH <= len(done) < FILES

    words = [*PENSTOCK, "resume", "last", "--json", str(EXAMPLE)]
    second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["status"] == "succeeded"
    run, all_done = measured(store)
    assert done <= all_done
    attempts = {path: len(run.attempts(path)) for path in done}
    assert set(attempts.values()) == {1}  # what was committed was not begun again
    assert (tmp_path / "build" / "atlas" / "index.html").exists()
