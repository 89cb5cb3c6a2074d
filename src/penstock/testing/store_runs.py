"""What every store must do with runs and their rows: the catalog and the journal of `StoreContract`."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.errors import ClaimLost, RunExists, RunNotFound, StoreError
from penstock.core.owners import here
from penstock.core.storage import Page, RunEntry, Store

from .store_rig import ELSEWHERE, LASTS, Clock, StoreRig

ODD_TEXTS = {
    "empty": "",
    "nul": "before\0after",
    "ascii": '{"a":"\\ud83d","b":[1,2]}',
    "accents": "naïve café",
    "astral": "𝔘𝔫𝔦 🚰",
    "lines": "one\r\ntwo\u2028three\x85four",
    "quotes": "'); DROP TABLE runs; --",
    "controls": "".join(map(chr, range(32))),
    "long": "x" * 1_000_000,
}


class RunsContract(StoreRig):
    """Runs are found and listed; rows are added, and come back."""

    # Catalog: a new run

    def test_a_store_is_one(self, store: Store) -> None:
        assert isinstance(store, Store)
        assert store.url
        assert store.check() == []

    def test_an_empty_store_has_no_runs(self, store: Store) -> None:
        assert store.runs() == []
        assert store.find("run") is None

    def test_a_run_is_found_as_it_was_created(self, store: Store, clock: Clock) -> None:
        fields: dict[str, Any] = {
            "flow": "étude", "created": 1.25, "updated": 2.5, "tags": {"kind": "nightly", "": "é\0"},
            "parent": "other", "target": "a/b.py:flow", "about": {"python": "3.11", "commit": "0" * 40},
        }  # fmt: skip
        claim = self.begin(store, **fields)
        found = self.entry(store)
        assert {name: getattr(found, name) for name in fields} == fields
        assert (found.run_id, found.status, found.number) == ("run", "running", claim.number)
        assert (found.owner, found.epoch, found.expires) == (here(), claim.epoch, clock.now + LASTS)
        assert (found.recoveries, found.rows) == (0, 1)

    def test_what_a_claim_sets_cannot_be_given(self, store: Store) -> None:
        entry = RunEntry(
            "run", "flow", "running", 1.0, 2.0, {}, recoveries=9, epoch=9, expires=9.0, rows=9, number=9,
            owner=ELSEWHERE,
        )  # fmt: skip
        claim = store.create(entry, here(), LASTS, Page(1, ["1"]))
        found = self.entry(store)
        assert (found.recoveries, found.epoch, found.rows, found.number) == (0, claim.epoch, 1, claim.number)
        assert found.owner == here()

    def test_a_run_is_created_with_its_first_rows(self, store: Store) -> None:
        self.begin(store, rows=["a", "b", "c"])
        assert list(store.rows("run")) == ["a", "b", "c"]

    def test_a_run_may_begin_without_rows(self, store: Store) -> None:
        claim = self.begin(store, rows=[])
        assert list(store.rows("run")) == []
        store.append(claim, Page(1, ["1"]))
        assert list(store.rows("run")) == ["1"]

    def test_there_is_one_run_of_an_id(self, store: Store) -> None:
        claim = self.begin(store, flow="first")
        with pytest.raises(RunExists, match="'run'"):
            self.begin(store, flow="second", rows=["x", "y"], tags={"a": "b"})
        assert self.entry(store).flow == "first"
        assert list(store.rows("run")) == ["1"]
        assert store.runs(tags={"a": "b"}) == []
        store.append(claim, Page(2, ["2"]))

    def test_a_run_can_be_created_when_it_has_ended_already(self, store: Store) -> None:
        """What is imported: from another store, or of another machine."""
        entry = RunEntry("run", "flow", "succeeded", 1.0, 2.0, {})
        claim = store.create(entry, here(), LASTS, Page(1, ["1"]))
        found = self.entry(store)
        assert (found.status, found.owner, found.updated, found.rows) == ("succeeded", None, 2.0, 1)
        with pytest.raises(ClaimLost):
            store.append(claim, Page(2, ["2"]))

    def test_a_run_can_be_created_page_by_page(self, store: Store) -> None:
        claim = self.begin(store, rows=["1", "2"])
        store.append(claim, Page(3, ["3", "4"]))
        store.append(claim, Page(5, [], status="failed"))
        assert list(store.rows("run")) == ["1", "2", "3", "4"]
        assert (self.entry(store).status, self.entry(store).rows) == ("failed", 4)

    def test_the_first_page_may_set_the_status(self, store: Store) -> None:
        entry = RunEntry("run", "flow", "pending", 1.0, 2.0, {})
        store.create(entry, here(), LASTS, Page(1, ["1"], status="running"))
        assert self.entry(store).status == "running"

    def test_ids_that_look_alike_are_not_the_same(self, store: Store) -> None:
        ids = ["run", "Run", "run ", "rùn", "ru%", "run\0", "ru_", ""]
        for run_id in ids:
            self.begin(store, run_id, rows=[run_id])
        for run_id in ids:
            assert list(store.rows(run_id)) == [run_id]

    # Catalog: lists

    def test_runs_are_listed_the_newest_first(self, store: Store) -> None:
        for name in "cab":
            self.begin(store, name)
        assert [entry.run_id for entry in store.runs()] == ["b", "a", "c"]

    def test_a_list_is_cut_and_goes_on(self, store: Store) -> None:
        for number in range(10):
            self.begin(store, str(number))
        seen: list[str] = []
        before = None
        while page := store.runs(before=before, limit=4):
            assert len(page) <= 4
            seen += [entry.run_id for entry in page]
            before = page[-1].number
        assert seen == [str(number) for number in reversed(range(10))]

    def test_a_list_of_none(self, store: Store) -> None:
        self.begin(store)
        assert store.runs(limit=0) == []
        assert store.runs(before=0) == []

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, "dcba"),
            ({"flow": "x"}, "ca"),
            ({"status": "failed"}, "cb"),
            ({"flow": "x", "status": "failed"}, "c"),
            ({"tags": {}}, "dcba"),
            ({"tags": {"day": "1"}}, "ca"),
            ({"tags": {"day": "1", "kind": "k"}}, "a"),
            ({"tags": {"day": "1"}, "flow": "y"}, ""),
            ({"tags": {"day": "1"}, "flow": "x", "status": "failed"}, "c"),
            ({"tags": {"day": ""}}, ""),
            ({"tags": {"kind": "1"}}, ""),
            ({"flow": "X"}, ""),
            ({"flow": "x", "limit": 1}, "c"),
            ({"tags": {"day": "1"}, "limit": 1}, "c"),
            ({"status": "failed", "limit": 1}, "c"),
        ],
        ids=str,
    )
    def test_lists_are_filtered(self, store: Store, filters: dict[str, Any], expected: str) -> None:
        self.begin(store, "a", flow="x", tags={"day": "1", "kind": "k"})
        self.ended(store, "b", flow="y", tags={"day": "2"}, status="failed")
        self.ended(store, "c", flow="x", tags={"day": "1"}, status="failed")
        self.begin(store, "d", flow="z")
        assert "".join(entry.run_id for entry in store.runs(**filters)) == expected

    def test_filters_go_with_pages(self, store: Store) -> None:
        for number in range(6):
            self.begin(store, str(number), flow="ab"[number % 2], tags={"n": "ab"[number % 2]})
        both: tuple[dict[str, Any], ...] = ({"flow": "a"}, {"tags": {"n": "a"}})
        for filters in both:
            (four,) = store.runs(limit=1, **filters)
            rest = store.runs(before=four.number, **filters)
            assert [entry.run_id for entry in (four, *rest)] == ["4", "2", "0"]

    def test_a_list_shows_the_status_of_now(self, store: Store) -> None:
        self.ended(store, status="failed")
        assert [entry.status for entry in store.runs(status="failed")] == ["failed"]
        assert store.runs(status="running") == []

    # Journal

    def test_rows_come_back_in_order(self, store: Store) -> None:
        claim = self.begin(store)
        for number in range(2, 50):
            store.append(claim, Page(number, [str(number)]))
        assert list(store.rows("run")) == [str(number) for number in range(1, 50)]

    @pytest.mark.parametrize(("after", "expected"), [(0, "abc"), (1, "bc"), (2, "c"), (3, ""), (9, "")])
    def test_rows_can_be_read_from_anywhere(self, store: Store, after: int, expected: str) -> None:
        self.begin(store, rows=list("abc"))
        assert "".join(store.rows("run", after)) == expected

    def test_rows_of_no_run(self, store: Store) -> None:
        with pytest.raises(RunNotFound, match="'run'"):
            list(store.rows("run"))

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
    def test_any_text_comes_back(self, store: Store, text: str) -> None:
        claim = self.begin(store, rows=[text])
        store.append(claim, Page(2, [text]))
        store.append(claim, Page(3, [text, text]))
        assert list(store.rows("run")) == [text] * 4

    @pytest.mark.parametrize("count", [1, 2])
    def test_text_without_a_form_in_utf_8_is_refused(self, store: Store, count: int) -> None:
        claim = self.begin(store)
        with pytest.raises(StoreError, match="surrogate"):
            store.append(claim, Page(2, ["a\ud800b"] * count))
        assert list(store.rows("run")) == ["1"]
        assert store.find("\ud800") is None
        store.append(claim, Page(2, ["2"]))

    def test_a_page_of_ten_thousand_rows(self, store: Store) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, [str(number) for number in range(2, 10_002)]))
        assert list(store.rows("run")) == [str(number) for number in range(1, 10_002)]
        assert next(iter(store.rows("run", 9_999))) == "10000"

    def test_rows_can_be_read_while_more_are_written(self, store: Store) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, [str(number) for number in range(2, 5_002)]))
        rows = store.rows("run")
        read = [next(rows)]
        for number in range(5_002, 5_010):
            store.append(claim, Page(number, [str(number)]))
        read += rows
        assert read[:5_001] == [str(number) for number in range(1, 5_002)]
        assert read[5_001:] in ([], [str(number) for number in range(5_002, 5_010)])

    @pytest.mark.parametrize("level", ["process", "power"])
    @pytest.mark.parametrize("rows", [["2"], ["2", "3"]], ids=len)
    def test_a_page_is_there_at_once_at_every_level(self, store: Store, level: Any, rows: list[str]) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, rows, level=level))
        assert list(store.rows("run")) == ["1", *rows]

    @pytest.mark.parametrize("rows", [["2"], ["2", "3"]], ids=len)
    def test_j31_the_same_page_twice_is_the_same_as_once(self, store: Store, rows: list[str]) -> None:
        claim = self.begin(store)
        for _ in range(3):
            store.append(claim, Page(2, rows))
        assert list(store.rows("run")) == ["1", *rows]
        store.append(claim, Page(2 + len(rows), ["more"]))
        assert list(store.rows("run")) == ["1", *rows, "more"]

    def test_j31_an_earlier_page_again_is_no_matter(self, store: Store) -> None:
        claim = self.begin(store)
        for number in (2, 3, 2, 3, 4):
            store.append(claim, Page(number, [str(number)]))
        assert list(store.rows("run")) == ["1", "2", "3", "4"]

    def test_j31_the_last_page_twice(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store)
        for _ in range(2):
            store.append(claim, Page(2, ["end"], level="power", status="succeeded"))
        assert (self.entry(store).status, self.entry(store).rows) == ("succeeded", 2)
        assert list(store.rows("run")) == ["1", "end"]

    def test_j31_a_status_without_rows_twice(self, store: Store) -> None:
        claim = self.begin(store)
        for _ in range(2):
            store.append(claim, Page(2, [], status="failed"))
        assert (self.entry(store).status, self.entry(store).rows) == ("failed", 1)

    @pytest.mark.parametrize("rows", [["x"], ["2", "x"], ["2", "3", "x"]], ids=len)
    def test_other_rows_do_not_replace_those_that_are_there(self, store: Store, rows: list[str]) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, ["2", "3"]))
        with pytest.raises(StoreError):
            store.append(claim, Page(2, rows))
        assert list(store.rows("run")) == ["1", "2", "3"]

    @pytest.mark.parametrize("first", [3, 9, 0, -1])
    def test_a_page_cannot_leave_a_gap(self, store: Store, first: int) -> None:
        claim = self.begin(store)
        for rows in (["x"], ["x", "y"]):
            with pytest.raises(StoreError):
                store.append(claim, Page(first, rows))
        assert list(store.rows("run")) == ["1"]

    def test_runs_do_not_mix(self, store: Store) -> None:
        claims = {name: self.begin(store, name, rows=[f"{name}1"]) for name in "abc"}
        for number in range(2, 20):
            for name, claim in claims.items():
                store.append(claim, Page(number, [f"{name}{number}"]))
        for name in claims:
            assert list(store.rows(name)) == [f"{name}{number}" for number in range(1, 20)]

    def test_a_status_is_changed_with_its_rows(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store)
        clock.now += 5
        store.append(claim, Page(2, ["2", "3"], status="running"))
        found = self.entry(store)
        assert (found.status, found.rows, found.updated) == ("running", 3, clock.now)
        assert found.owner == here()

    def test_rows_alone_do_not_change_the_status(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store, status="pending")
        clock.now += 5
        store.append(claim, Page(2, ["2"]))
        assert (self.entry(store).status, self.entry(store).updated) == ("pending", 10.0)

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "waiting"])
    def test_a_status_that_ends_a_run_ends_the_claim(self, store: Store, status: str) -> None:
        claim = self.ended(store, status=status)
        found = self.entry(store)
        assert (found.status, found.owner, found.expires, found.rows) == (status, None, None, 2)
        for page in (Page(3, ["3"]), Page(3, ["3", "4"]), Page(3, [], status="running")):
            with pytest.raises(ClaimLost):
                store.append(claim, page)
        with pytest.raises(ClaimLost):
            store.renew(claim, LASTS)
        assert list(store.rows("run")) == ["1", "2"]

    @pytest.mark.parametrize("status", ["running", "pending"])
    def test_another_status_does_not(self, store: Store, status: str) -> None:
        claim = self.ended(store, status=status)
        assert self.entry(store).owner == here()
        store.append(claim, Page(3, ["3"]))
