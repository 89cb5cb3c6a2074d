"""The page of failure modes and the tests say the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("uncovered", ROOT / "scripts" / "uncovered.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


uncovered = load()
GROUPS = "DFGJLRSX"


def rows() -> list[tuple[str, str]]:
    return list(uncovered.page_rows(uncovered.PAGE.read_text("utf-8")))


def test_the_page_and_the_tests_do_not_contradict_each_other():
    assert uncovered.contradictions(rows(), uncovered.all_tests(), ()) == []
    assert {mode[0] for mode, _ in rows()} == set(GROUPS)


def test_every_failure_mode_of_the_catalogue_has_its_row(shared):
    known = uncovered.catalogue((shared / "failure-modes.md").read_text("utf-8"))
    assert uncovered.contradictions(rows(), uncovered.all_tests(), known) == []
    assert [mode for mode in known if mode[0] in GROUPS and mode not in dict(rows())] == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("S01", "`test_s01_a`"), []),
        (("S01", "`test_s01_a`; the rest comes later"), []),
        (("S02", "not yet: the journal"), []),
        (("S01", "not yet: the journal"), ["S01 is said to be for later, and has a test"]),
        (("S02", ""), ["S02 has neither a test of its name nor a reason"]),
        (("S01", "`test_s01_b`"), ["S01: there is no test_s01_b"]),
        (
            ("S02", "`test_s01_a`"),
            ["S02 has neither a test of its name nor a reason", "S02: test_s01_a is not named after it"],
        ),
        (("S09", "not yet: nobody knows"), ["S09 is not in the catalogue"]),
    ],
)
def test_a_contradiction_is_found(row, says):
    known = ("S01",) if row[0] == "S01" else ("S02",)
    assert uncovered.contradictions([row], {"test_s01_a"}, known) == (
        says if row[0] != "S09" else ["S02 has no row", *says]
    )


def test_a_row_that_is_there_twice_is_found():
    row = ("S01", "`test_s01_a`")
    assert uncovered.contradictions([row, row], {"test_s01_a"}, ()) == ["S01 has two rows"]
