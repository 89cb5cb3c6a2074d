"""What every store must do with notes: what is kept with runs beside their journals. A part of
`StoreContract`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest

from penstock.core.errors import RunNotFound, StoreError
from penstock.core.storage import Note, Page, Store

from .store_claims import in_threads
from .store_rig import Clock, StoreRig
from .store_runs import ODD_TEXTS


def said(text: str, node: str = "a", kind: str = "log", **fields: float | str | int) -> Note:
    """A note that says this."""
    known: dict[str, float | str | int] = {"path": f'"{node}"', "token": 1, "at": 10.5, **fields}
    return Note(kind, node, body=text, **known)  # type: ignore[arg-type]


def texts(notes: Sequence[Note]) -> list[str]:
    """What they say."""
    return [one.body for one in notes]


class NotesContract(StoreRig):
    """Notes are added and found, one of progress replaces the last, and they go with their run."""

    def test_notes_come_back_as_they_were_and_in_order(self, store: Store) -> None:
        self.begin(store)
        given = [
            said("one"),
            said("two", "b", "usage", token=7, at=11.25, path='["b",3,"key"]'),
            said("three", kind="later"),
        ]
        store.note("run", given[:2])
        store.note("run", given[2:])
        found = store.notes("run")
        assert [one._replace(id=0) for one in found] == given
        ids = [one.id for one in found]
        assert ids == sorted(set(ids))
        assert ids[0] > 0

    def test_an_id_that_was_given_is_not_taken(self, store: Store) -> None:
        self.begin(store)
        store.note("run", [said("one", id=99), said("two", id=99)])
        first, second = store.notes("run")
        assert first.id < second.id

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
    def test_any_text_comes_back(self, store: Store, text: str) -> None:
        self.begin(store)
        note = Note("log", text, text, 1, 1.5, text)
        store.note("run", [note])
        (found,) = store.notes("run", node=text)
        assert found._replace(id=0) == note
        assert store.check() == []

    @pytest.mark.parametrize(
        "wrong",
        [
            said("\ud800"), said("x", "\ud800"), said("x", kind="\ud800"), said("x", path="\ud800"),
            said("x", at=float("nan")), said("x", at=float("inf")), said("x", token=-1),
            said("x", token=1 << 63),
        ],
        ids=["body", "node", "kind", "path", "nan", "inf", "negative", "huge"],
    )  # fmt: skip
    def test_what_cannot_be_kept_is_refused_with_all_that_came_with_it(
        self, store: Store, wrong: Note
    ) -> None:
        self.begin(store)
        with pytest.raises(StoreError):
            store.note("run", [said("before"), wrong])
        assert store.notes("run") == []

    def test_notes_of_no_run(self, store: Store) -> None:
        for given in ([], [said("x")]):
            with pytest.raises(RunNotFound, match="'run'"):
                store.note("run", given)
        assert store.notes("run") == []
        assert store.notes("\ud800") == store.notes("run", kind="\ud800") == []

    def test_notes_belong_to_a_run(self, store: Store) -> None:
        for name in "abc":
            self.begin(store, name)
        for round in range(3):
            for name in "acb":
                store.note(name, [said(f"{name} {round}")])
        for name in "abc":
            assert texts(store.notes(name)) == [f"{name} {round}" for round in range(3)]
        last = store.notes("a")[-1].id
        assert store.notes("a", last) == []

    def test_notes_are_found_by_step_and_kind_and_from_one_on(self, store: Store) -> None:
        self.begin(store)
        given = [
            said(f"{number}", "ab"[number % 2], ("log", "log", "usage")[number % 3]) for number in range(30)
        ]
        store.note("run", given)
        every = store.notes("run")
        for node in (None, "a", "b", "c"):
            for kind in (None, "log", "usage", "other"):
                right = [one for one in every if node in (None, one.node) and kind in (None, one.kind)]
                assert store.notes("run", node=node, kind=kind) == right
                assert store.notes("run", node=node, kind=kind, limit=3) == right[:3]
                later = [one for one in right if one.id > every[16].id]
                assert store.notes("run", every[16].id, node=node, kind=kind) == later
        assert store.notes("run", limit=0) == []
        assert texts(store.notes("run", -5, limit=1)) == ["0"]
        assert store.notes("run", every[-1].id) == store.notes("run", 1 << 62) == []

    def test_many_notes_are_read_in_pages(self, store: Store) -> None:
        self.begin(store)
        store.note("run", [said(str(number)) for number in range(12_000)])
        assert texts(store.notes("run")) == [str(number) for number in range(12_000)]
        assert len(store.notes("run", limit=10_000)) == 10_000
        assert len(store.notes("run", limit=5_001)) == 5_001
        page = store.notes("run", limit=7_000)
        assert texts(store.notes("run", page[-1].id)) == [str(number) for number in range(7_000, 12_000)]

    # Progress

    def test_progress_takes_the_place_of_that_of_the_same_path(self, store: Store) -> None:
        self.begin(store)
        self.begin(store, "other")
        store.note("other", [said("other", kind="progress")])
        store.note("run", [said("log"), said("1", kind="progress"), said("b", "b", "progress")])
        store.note("run", [said("2", kind="progress")])
        assert texts(store.notes("run")) == ["log", "b", "2"]
        assert texts(store.notes("run", kind="progress")) == ["b", "2"]
        assert texts(store.notes("other")) == ["other"]

    def test_of_progress_in_one_go_the_last_stays(self, store: Store) -> None:
        self.begin(store)
        one = said("again", kind="progress")
        store.note("run", [said("1", kind="progress"), one, said("log"), one])
        assert texts(store.notes("run")) == ["log", "again"]

    def test_whoever_follows_sees_progress_again_when_it_is_another(self, store: Store) -> None:
        self.begin(store)
        store.note("run", [said("1", kind="progress")])
        (seen,) = store.notes("run")
        store.note("run", [said("2", kind="progress")])
        (found,) = store.notes("run", seen.id)
        assert found.body == "2"
        store.note("run", [said("3", kind="progress")])
        assert texts(store.notes("run", found.id)) == ["3"]

    def test_only_progress_is_replaced(self, store: Store) -> None:
        self.begin(store)
        for kind in ("log", "usage"):
            store.note("run", [said("same", kind=kind)] * 2)
        assert len(store.notes("run")) == 4

    # The run

    def test_notes_need_no_claim_and_stay_when_the_run_has_ended(self, store: Store) -> None:
        claim = self.begin(store)
        store.note("run", [said("before")])
        store.append(claim, Page(2, ["2"], status="succeeded"))
        store.note("run", [said("after")])
        assert texts(store.notes("run")) == ["before", "after"]
        assert store.check() == []

    def test_notes_are_no_rows_and_no_letters(self, store: Store) -> None:
        claim = self.begin(store)
        store.note("run", [said("x")])
        store.append(claim, Page(2, ["2"]))
        assert list(store.rows("run")) == ["1", "2"]
        assert store.letters("run") == []

    def test_notes_go_with_their_run(self, store: Store) -> None:
        for name in ("run", "stays"):
            self.ended(store, name)
            store.note(name, [said(f"{name} {number}") for number in range(3)])
            store.note(name, [said("p", kind="progress")])
        assert store.forget(["run"]) == 1
        assert store.notes("run") == []
        with pytest.raises(RunNotFound):
            store.note("run", [said("x")])
        assert len(store.notes("stays")) == 4
        assert store.check() == []

    def test_a_new_run_of_an_old_id_has_no_notes(self, store: Store) -> None:
        self.ended(store)
        store.note("run", [said("old"), said("old", kind="progress")])
        (*_, last) = store.notes("run")
        store.forget(["run"])
        self.begin(store)
        assert store.notes("run") == []
        store.note("run", [said("new", kind="progress")])
        assert texts(store.notes("run", last.id)) == ["new"]

    def test_a_run_with_very_many_notes_is_forgotten(self, store: Store) -> None:
        self.ended(store)
        store.note("run", [said("x" * 20)] * 45_000)
        self.ended(store, "other")
        store.note("other", [said("y")])
        assert store.forget(["run"]) == 1
        assert texts(store.notes("other")) == ["y"]
        assert store.check() == []

    # Several at a time

    def test_notes_are_there_when_it_is_opened_again(self, clock: Clock) -> None:
        with self.make(clock) as store:
            self.begin(store)
            store.note("run", [said("kept"), said("1", kind="progress")])
            before = store.notes("run")
        with closing(self.again(store, clock)) as store:
            assert store.notes("run") == before
            store.note("run", [said("2", kind="progress")])
            assert texts(store.notes("run", before[-1].id)) == ["2"]
            assert store.check() == []

    def test_notes_of_another_handle_are_seen(self, store: Store, clock: Clock) -> None:
        self.begin(store)
        with closing(self.again(store, clock)) as other:
            other.note("run", [said("one")])
            store.note("run", [said("two")])
            assert texts(other.notes("run")) == texts(store.notes("run")) == ["one", "two"]

    def test_the_journal_is_written_while_notes_are(self, store: Store) -> None:
        claim = self.begin(store)
        seen: list[Note] = []
        done = threading.Event()

        def drive() -> None:
            for number in range(2, 202):
                store.append(claim, Page(number, [str(number)]))

        def write() -> None:
            for number in range(50):
                store.note("run", [said(f"{number} {part}") for part in range(20)])
            done.set()

        def follow() -> None:
            while not done.is_set():
                seen.extend(store.notes("run", seen[-1].id if seen else 0))

        calls: list[Callable[[], object]] = [drive, write, follow]
        in_threads(calls)
        seen += store.notes("run", seen[-1].id if seen else 0)
        assert texts(seen) == [f"{number} {part}" for number in range(50) for part in range(20)]
        assert list(store.rows("run")) == [str(number) for number in range(1, 202)]
        assert store.check() == []
