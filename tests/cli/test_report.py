"""`penstock report`, and `penstock run --report`: where the page goes, and what is said if it cannot."""

import os

import pytest

from tests.report.parsed import Page

JOB = """
from penstock import Flow, each

flow = Flow("job")

@flow.step(runner="processes")
def many() -> list[int]:
    return [1, 2]

@flow.step
def one(x: int = each(many)) -> int:
    return 6 // (x - 1)

good = Flow("good")

@good.step
def fine() -> int:
    return 1
"""


@pytest.fixture
def job(files):
    (files / "job.py").write_text(JOB)
    return files


def words(path):
    return " ".join(element.text for element in Page(path.read_text("utf-8")).all("main"))


def test_a_stored_run_is_reported_without_its_code(call, job):
    assert call("run", "job.py:flow", "--run-id", "r/1 *").code == 1
    (job / "job.py").unlink()
    told = call("report", "last")
    assert (told.code, told.out, told.err) == (0, "the report is in report-r_1__.html\n", "")
    said = words(job / "report-r_1__.html")
    assert "ZeroDivisionError" in said
    assert "penstock debug 'r/1 *' 'one[0]'" in said
    assert call("report", "last", "-o", "-").out.startswith("<!doctype html>")


def test_where_it_cannot_be_written_is_told(call, job):
    call("run", "job.py:good", "--run-id", "r")
    told = call("report", "r", "-o", "no/such/folder.html")
    assert told.code == 2
    assert told.err.startswith("penstock: the report cannot be written to 'no/such/folder.html'")
    assert "there is no run 's'" in call("report", "s").err


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_writes_its_report(program, job, kept):
    more = () if kept else ("--no-store",)
    done = program("run", "job.py:flow", "--report", "out.html", "--profile", *more)
    assert done.returncode == 1
    page = Page((job / "out.html").read_text("utf-8"))
    assert "ZeroDivisionError" in words(job / "out.html")
    assert "CPU" in [cell.text for cell in page.all("th")]


def test_j07_a_run_that_succeeded_and_whose_report_is_lost_says_so(program, job):
    done = program("run", "job.py:good", "--report", "/dev/full" if os.path.exists("/dev/full") else "no/x")
    assert done.returncode == 1
    assert b"there is no report: " in done.stderr
    assert b"succeeded" in done.stdout
    assert program("run", "job.py:good", "--report", "fine.html").returncode == 0
