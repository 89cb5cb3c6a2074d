"""What steps say on its way into the store: bounded, and harmless."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.core import noter
from penstock.core.errors import StoreError
from penstock.core.events import Logged, Measured, Progressed
from penstock.core.model import NodePath
from penstock.core.noter import Noter
from penstock.core.storage import Note
from penstock.flow import Flow
from penstock.stores.memory import MemoryStore


class Pad(MemoryStore):
    """A store that takes notes of any run, as long as it is told to."""

    def __init__(self, refuses: int = 0) -> None:
        super().__init__()
        self.taken: list[Note] = []
        self.batches: list[int] = []
        self.refuses = refuses

    def note(self, run_id: str, notes: Sequence[Note]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise StoreError("the disk is full")
        self.batches.append(len(notes))
        self.taken += notes


def logged(text: str = "text", attempt: int = 1, **fields: Any) -> Logged:
    return Logged(NodePath("a"), attempt, text, fields, at=1.0)


def bodies(pad: Pad) -> list[Any]:
    return [json.loads(note.body) for note in pad.taken]


def test_what_is_said_is_written_in_order_and_once():
    pad = Pad()
    mine = Noter(pad, "r")
    mine(logged("one", v=1, w={1}))
    mine(Measured(NodePath("a", (3,)), 2, 0.5, 100, False))
    mine.write()
    mine(logged("two"))
    mine.close()
    assert [(note.kind, note.node, note.path, note.token) for note in pad.taken] == [
        ("log", "a", '"a"', 0),
        ("usage", "", '""', 0),
        ("log", "a", '"a"', 0),
    ]
    assert bodies(pad) == [
        {"m": "one", "l": "info", "o": "", "a": 1, "f": {"v": 1, "w": "{1}"}},
        {"u": [[["a", 3], 2, 0.5, 100, False]]},
        {"m": "two", "l": "info", "o": "", "a": 1},
    ]


def test_of_progress_only_the_last_word_is_written():
    pad = Pad()
    mine = Noter(pad, "r")
    for done in range(1_000):
        mine(Progressed(NodePath("a"), done, 1_000, "on"))
    mine(Progressed(NodePath("b"), 1, None, ""))
    mine.write()
    mine.close()
    assert bodies(pad) == [{"d": 999, "t": 1_000, "x": "on"}, {"d": 1, "t": None, "x": ""}]


def test_lines_beyond_what_is_kept_are_counted(monkeypatch):
    monkeypatch.setattr(noter, "LINES", 3)
    monkeypatch.setattr(noter, "ALL_LINES", 5)
    pad = Pad()
    mine = Noter(pad, "r")
    for attempt in (1, 2, 3):
        for number in range(4):
            mine(logged(str(number), attempt))
    mine.close()
    assert [(body["a"], body["m"]) for body in bodies(pad)] == [
        (1, "0"), (1, "1"), (1, "2"), (2, "0"), (2, "1"),
        (1, "lines of this attempt that were not kept: 1"),
        (2, "lines of this attempt that were not kept: 2"),
        (3, "lines of this attempt that were not kept: 4"),
    ]  # fmt: skip


def test_a_store_that_refuses_once_gets_them_later():
    pad = Pad(refuses=1)
    mine = Noter(pad, "r")
    mine(logged("one"))
    mine.write()
    assert not pad.taken
    mine.close()
    assert [body["m"] for body in bodies(pad)] == ["one"]
    assert mine.warnings == []


def test_j07_a_store_that_goes_on_refusing_is_a_warning_and_no_failure():
    pad = Pad(refuses=1_000)
    mine = Noter(pad, "r")
    for _ in range(5):
        mine(logged())
        mine.write()
    mine.close()
    assert mine.warnings == ["what steps said is not kept from here on: the disk is full"]

    flow = Flow("full")

    @flow.step
    def says() -> int:
        print("hello")
        return 1

    pad = Pad(refuses=1_000)
    result = flow.run(store=pad)
    assert result["says"] == 1


def test_large_heaps_are_written_in_small_transactions():
    pad = Pad()
    mine = Noter(pad, "r")
    for number in range(600):
        mine(logged(str(number)))
    mine.write()
    assert pad.batches == [250, 250, 100]


@pytest.mark.parametrize(
    ("value", "kept"),
    [(float("nan"), "nan"), (1.5, 1.5), (None, None), (True, True), ("ä\x00\ud800", "ä\x00\ud800")],
)
def test_d07_d09_fields_are_what_json_has_words_for(value, kept):
    pad = Pad()
    mine = Noter(pad, "r")
    mine(logged(value=value))
    mine.close()
    (body,) = bodies(pad)
    assert body["f"] == {"value": kept}


def test_a_field_whose_repr_raises_is_named_by_its_type():
    class Bad:
        def __repr__(self) -> str:
            raise ValueError

    pad = Pad()
    mine = Noter(pad, "r")
    mine(logged(bad=Bad()))
    mine.close()
    assert bodies(pad)[0]["f"] == {"bad": "<Bad>"}


def test_usage_takes_a_note_for_many_attempts():
    pad = Pad()
    mine = Noter(pad, "r")
    for token in range(600):
        mine(Measured(NodePath("a"), token, 0.0))
    mine.close()
    assert [len(body["u"]) for body in bodies(pad)] == [250, 250, 100]
