"""The pytest plugin, as a project sees it that has Penstock installed; and what importing the kit loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import penstock.testing
from penstock import Flow
from penstock.testing import FakeClock
from penstock.testing.leaks import Leaks

PACKAGE = Path(penstock.__file__).parent


@pytest.fixture
def project(tmp_path):
    """Runs pytest on one file, in a project of its own; gives its exit code and what it says."""

    def run(text: str, *options: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return run


class TestFixtures:
    def test_the_clock_is_shared(self, fake_clock, penstock_run, manual):
        flow = Flow("flow")
        flow.add(lambda: fake_clock.sleep(5), name="a")
        penstock_run(flow)
        assert fake_clock() == 5
        assert manual(flow).clock is fake_clock
        other = FakeClock()
        assert manual(flow, clock=other).clock is other

    def test_they_are_there_without_being_asked_for(self, project):
        code, said = project(
            "from penstock import Flow\n"
            "def test_it(penstock_run, manual, fake_clock, penstock_no_leaks):\n"
            "    flow = Flow('flow')\n"
            "    flow.add(lambda: 1, name='a')\n"
            "    assert penstock_run(flow)['a'] == 1\n"
            "    manual(flow)\n"
        )
        assert (code, "1 passed" in said) == (0, True), said

    def test_a_failed_assertion_shows_the_failed_steps(self, project):
        code, said = project(
            "from penstock import Flow, RunStatus\n"
            "def test_it(penstock_run):\n"
            "    flow = Flow('flow')\n"
            "    flow.add(lambda: 1 / 0, name='divides')\n"
            "    result = penstock_run(flow)\n"
            "    assert result.status is RunStatus.SUCCEEDED\n"
        )
        assert code == 1
        assert "divides: ZeroDivisionError: division by zero" in said


class TestLeaks:
    def test_a_thread_that_stays_fails_its_test(self, project):
        code, said = project(
            "import threading\n"
            "from penstock.testing import leaks\n"
            "leaks.PATIENCE = 0.1\n"
            "go = threading.Event()\n"
            "def test_leaves(penstock_no_leaks):\n"
            "    threading.Thread(target=go.wait, name='penstock-77', daemon=True).start()\n"
            "def test_is_innocent(penstock_no_leaks):\n"
            "    go.set()\n"
        )
        assert code == 1
        assert "the test has left behind: thread 'penstock-77'" in said
        assert "2 passed, 1 error" in said, "who comes after is not blamed"

    def test_a_thread_of_somebody_else_is_none_of_ours(self):
        leaks, go = Leaks(), threading.Event()
        threading.Thread(target=go.wait, name="somebody", daemon=True).start()
        assert leaks.found(patience=0.0) == []
        go.set()

    def test_a_child_that_stays_is_named(self):
        leaks = Leaks()
        code = "import sys; print('begun', flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        try:
            (found,) = leaks.found(patience=0.0)
            assert found.startswith(f"process {child.pid} (")
            assert "sys.stdin.read()" in found
        finally:
            child.communicate()
        assert leaks.found() == []

    def test_what_is_about_to_end_is_waited_for(self):
        leaks, go = Leaks(), threading.Event()
        thread = threading.Thread(target=go.wait, name="penstock-1", daemon=True)
        thread.start()
        threading.Timer(0.05, go.set).start()
        assert leaks.found(patience=30) == []


class TestLoading:
    def loaded(self, statement: str) -> set[str]:
        code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {statement}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    def test_the_plugin_loads_nothing_but_itself(self):
        mine = {name for name in self.loaded("import penstock.testing.plugin") if name.startswith("penstock")}
        assert mine == {"penstock", "penstock.testing", "penstock.testing.plugin"}

    def test_the_kit_needs_no_pytest(self):
        names = ", ".join(penstock.testing.__all__)
        assert not {"pytest", "_pytest"} & self.loaded(f"from penstock.testing import {names}")


class TestTheFace:
    def test_all_names_are_there(self):
        assert penstock.testing.__all__ == sorted(set(penstock.testing.__all__))
        assert set(penstock.testing.__all__) == set(penstock.testing._HOME)
        for name in penstock.testing.__all__:
            assert getattr(penstock.testing, name) is not None
            assert name in dir(penstock.testing)

    def test_a_name_that_is_not_there_says_so(self):
        with pytest.raises(AttributeError, match="has no attribute 'FakeClokc'"):
            penstock.testing.FakeClokc  # type: ignore[attr-defined]  # noqa: B018

    @pytest.mark.parametrize("name", penstock.testing.__all__)
    def test_every_name_is_in_the_guide(self, name):
        guide = Path(__file__).resolve().parents[2] / "docs" / "guides" / "testing.md"
        assert re.search(rf"\b{name}\b", guide.read_text("utf-8"))
