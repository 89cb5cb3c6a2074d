"""Bits that flip, files that are cut: the store says so, or answers as if nothing had happened (J10, J11)."""

import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import StoreDamaged, StoreError, ValueLost
from penstock.stores.sqlite import SqliteStore, salvage, wal

from . import damage

MANY = os.environ.get("PENSTOCK_FLIPS") == "all"
FLIPS, CUTS = (500, 50) if MANY else (100, 15)  # of a store that was closed, and as many of one that was not

executed: list[str] = []
_watching = False


def _watch(event: str, _: Any) -> None:
    if _watching and event in (
        "exec",
        "compile",
        "import",
        "os.system",
        "subprocess.Popen",
        "pickle.find_class",
    ):
        executed.append(event)


@pytest.fixture(scope="module", params=["closed", "crashed"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.build(tmp_path_factory.mktemp("sound"), request.param)


@pytest.fixture(scope="module")
def truth(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    answers, said = damage.ask(damage.copied(sound, tmp_path_factory.mktemp("truth") / "copy"))
    assert said == []
    assert [name for name, answer in answers.items() if isinstance(answer, Exception)] == []
    assert len(answers[f"rows {damage.CUT_OFF}"]) == 60
    return answers


def judge(path: Path, truth: dict[str, Any], what: str) -> None:
    global _watching
    before = damage.contents(path)
    executed.clear()
    _watching = True
    try:
        answers, said = damage.ask(path)
    finally:
        _watching = False
    assert damage.wrong(truth, answers, said) == [], f"{what}: {said}"
    assert executed == [], what
    if said and said[0].startswith("not opened"):
        assert damage.contents(path) == before, what


@pytest.mark.parametrize("part", range(4))
def test_j10_a_bit_that_flips_is_noticed_or_does_not_matter(
    sound: Path, truth: dict[str, Any], tmp_path: Path, part: int
) -> None:
    if part == 0:
        sys.addaudithook(_watch)
    for number in range(part, FLIPS, 4):
        chance = random.Random(number)
        path = damage.copied(sound, tmp_path / "copy")
        judge(path, truth, f"{number}: {damage.flipped(path, chance)}")


def test_j10_a_file_that_is_cut_is_noticed(sound: Path, truth: dict[str, Any], tmp_path: Path) -> None:
    for number in range(CUTS):
        chance = random.Random(number)
        path = damage.copied(sound, tmp_path / "copy")
        judge(path, truth, f"{number}: {damage.truncated(path, chance)}")


def test_a_log_that_is_cut_anywhere_is_noticed_by_its_index(tmp_path: Path) -> None:
    """Also where it ends in order, behind a commit."""
    sound = damage.build(tmp_path / "sound", "crashed")
    with open(f"{sound}-shm", "rb") as file:
        index = wal.read_index(file.fileno())
    assert index is not None
    assert (index.frames > 50, index.copied) == (True, 0)
    truth, _ = damage.ask(damage.copied(sound, tmp_path / "truth"))
    for frames in (0, 1, index.frames // 2, index.frames - 1):
        path = damage.copied(sound, tmp_path / "copy")
        os.truncate(f"{path}-wal", 32 + frames * (24 + 2048))
        with SqliteStore(path) as store:
            (said,) = store.warnings
            assert "was cut" in said
            assert any(said in line for line in store.check())
            assert damage.wrong(truth, damage.answers_of(store), store.warnings) == []
        (kept,) = path.parent.glob("*.damaged-1")
        assert kept.stat().st_size == 32 + frames * (24 + 2048)
        assert kept.stat().st_mode & 0o777 == 0o600


def test_a_log_that_was_deleted_is_noticed_by_its_index(tmp_path: Path) -> None:
    path = damage.build(tmp_path / "sound", "crashed")
    os.unlink(f"{path}-wal")
    with SqliteStore(path, read_only=True) as store:
        (said,) = store.warnings
        assert "has gone or is empty, with" in said
        assert store.find(damage.CUT_OFF) is None


def test_j10_salvage_saves_what_is_sound(tmp_path: Path) -> None:
    sound = damage.build(tmp_path / "sound", "closed")
    path = damage.copied(sound, tmp_path / "copy")
    data = path.read_bytes()
    place = data.index(b'["run-3",40,')
    path.write_bytes(data[: place + 3] + b"X" + data[place + 4 :])
    with SqliteStore(path) as store:
        with pytest.raises(StoreDamaged, match=r"row 40 .*penstock doctor"):
            list(store.rows("run-3"))
        assert [line for line in store.check() if "run-3" in line]
    before = damage.contents(path)
    (left,) = salvage(path, tmp_path / "saved" / "journal.db")
    assert "run-3" in left
    assert "row 40" in left
    with SqliteStore(tmp_path / "saved" / "journal.db") as saved:
        assert saved.check() == []
        truth, _ = damage.ask(sound)
        for run_id in damage.RUNS:
            if run_id != "run-3":
                assert list(saved.rows(run_id)) == truth[f"rows {run_id}"]
                now, then = saved.find(run_id), truth[f"find {run_id}"]
                assert now is not None
                same = ("flow", "status", "created", "tags", "about", "target", "rows")
                assert [getattr(now, name) for name in same] == [getattr(then, name) for name in same]
                assert [one.body for one in saved.letters(run_id)] == [f"letter to {run_id}"]
        assert saved.find("run-3") is None
        assert all(saved.get(store_digest) for store_digest in {*_digests(saved)})
    assert damage.contents(path) == before


def test_salvage_of_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    sound = damage.build(tmp_path / "sound", "closed")
    path = damage.copied(sound, tmp_path / "copy")
    data = bytearray(path.read_bytes())
    data[60:72] = b"\xff" * 12  # its version, and whose it is
    path.write_bytes(data)
    with pytest.raises(StoreDamaged):
        SqliteStore(path)
    assert salvage(path, tmp_path / "saved.db") == []
    with SqliteStore(tmp_path / "saved.db") as saved:
        assert len(saved.runs()) == len(damage.RUNS)


def test_salvage_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("precious")
    SqliteStore(tmp_path / "a.db").close()
    with pytest.raises(StoreError, match="already"):
        salvage(tmp_path / "a.db", tmp_path / "there.db")
    with pytest.raises(StoreError, match="no store"):
        salvage(tmp_path / "nowhere.db", tmp_path / "b.db")
    assert (tmp_path / "there.db").read_text() == "precious"
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("harm", ["deleted", "cut", "flipped", "swapped", "a link", "empty"])
def test_j11_a_value_that_is_not_as_it_was_is_lost_until_it_is_put_again(tmp_path: Path, harm: str) -> None:
    with SqliteStore(tmp_path / "journal.db") as store:
        digest, other = store.put(b"a" * 50_000), store.put(b"b" * 50_000)
        folder = tmp_path / "journal.db-values"
        file = folder / digest[:2] / digest
        body = file.read_bytes()
        match harm:
            case "deleted":
                file.unlink()
            case "cut":
                os.truncate(file, 49_999)
            case "empty":
                os.truncate(file, 0)
            case "flipped":
                file.write_bytes(b"A" + body[1:])
            case "swapped":
                (folder / other[:2] / other).replace(file)
            case "a link":
                file.rename(tmp_path / "elsewhere")
                file.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ValueLost, match=digest):
            store.get(digest)
    with SqliteStore(tmp_path / "journal.db") as store:  # that has not seen it
        assert store.put(body) == digest
        assert store.get(digest) == body


def _digests(store: SqliteStore) -> list[str]:
    return list(store._values.digests())
