"""What all tests share: where the reference data is, Hypothesis profiles, and skips that may not be."""

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.canary import processes, sightings

ROOT = Path(__file__).resolve().parents[1]

for usual, number in ((signal.default_int_handler, signal.SIGINT), (signal.SIG_DFL, signal.SIGHUP)):
    if signal.getsignal(number) is signal.SIG_IGN:  # by nohup, or in the background; programs inherit it
        signal.signal(number, usual)

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("repeatable" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data (workflow traces and more): $PENSTOCK_SHARED, or `shared` beside the repository."""
    path = Path(os.environ.get("PENSTOCK_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip("shared data missing: set PENSTOCK_SHARED to its directory")
    return path


# A test that needs a program which is not there says pytest.skip("program missing: dot"). With
# PENSTOCK_REQUIRE_ALL=1, where whoever runs the tests has installed the programs, that is a failure instead.


def _refuse_missing_program(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("PENSTOCK_REQUIRE_ALL") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason.startswith("program missing:"):
        report.outcome = "failed"
        report.longrepr = f"{reason} (PENSTOCK_REQUIRE_ALL=1 forbids this skip)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_missing_program(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_missing_program(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After all tests: the secret that some of them give to runs is nowhere in what they have left."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if hasattr(session.config, "workerinput") or factory is None or session.config.option.collectonly:
        return
    seen = [*map(str, sightings(factory.getbasetemp())), *processes()]
    if seen:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        for one in seen:
            reporter.write_line(f"the canary was seen: {one}", red=True)
