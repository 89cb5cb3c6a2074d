"""Folders of attempts: made at first access, published whole, removed otherwise, safe whatever the name."""

# mypy: disable-error-code="no-untyped-call"

import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.events import NodePath
from penstock.core.model import RunOptions
from penstock.core.workdir import Workdir, Workdirs, file_name


@pytest.fixture
def dirs(tmp_path):
    return Workdirs(tmp_path / "work", "run-1")


def below(folder):
    """All that is below a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# --- the life of a folder ---------------------------------------------------------------------------------


def test_nothing_is_made_before_it_is_asked_for(dirs, tmp_path):
    workdir = dirs.folder(NodePath("load"), 1)
    assert workdir.published == tmp_path / "work" / "run-1" / "load"
    assert workdir.publish() is False
    assert dirs.folder(NodePath("load"), 2).discard() == []
    assert dirs.close() == []
    assert below(tmp_path) == []


def test_it_is_published_whole(dirs, tmp_path):
    workdir = dirs.folder(NodePath("load"), 2)
    assert workdir.path == workdir.path == tmp_path / "work" / "run-1" / "load.attempt-2.part"
    (workdir.path / "out.csv").write_text("a")
    assert not workdir.published.exists()
    assert workdir.publish() is True
    assert dirs.close() == []
    assert below(tmp_path / "work") == ["run-1", "run-1/load", "run-1/load/out.csv"]
    assert workdir.publish() is False


def test_items_lie_in_the_folder_of_their_step(dirs, tmp_path):
    for items in ((3,), (4,)):
        workdir = dirs.folder(NodePath("parse", items), 1)
        (workdir.path / "x").touch()
        workdir.publish()
    deep = dirs.folder(NodePath("deep", ("eu", 0)), 1)
    deep.path  # noqa: B018
    deep.publish()
    assert below(tmp_path / "work" / "run-1") == [
        *("deep", "deep/eu", "deep/eu/0"),
        *("parse", "parse/3", "parse/3/x", "parse/4", "parse/4/x"),
    ]


def test_it_is_removed_with_all_that_is_in_it(dirs, tmp_path):
    workdir = dirs.folder(NodePath("parse", (0,)), 1)
    (workdir.path / "sub").mkdir()
    (workdir.path / "sub" / "file").touch()
    (workdir.path / "link").symlink_to(tmp_path)
    assert workdir.discard() == []
    assert dirs.close() == []
    assert below(tmp_path) == ["work"]


def test_what_was_neither_published_nor_removed_is_removed_at_the_end(dirs, tmp_path):
    for attempt in (1, 2):
        (dirs.folder(NodePath("load"), attempt).path / "file").touch()
    kept = dirs.folder(NodePath("kept"), 1)
    (kept.path / "mine.attempt-1.part").mkdir()
    kept.publish()
    assert dirs.close() == []
    assert below(tmp_path / "work") == ["run-1", "run-1/kept", "run-1/kept/mine.attempt-1.part"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root removes anything")
def test_what_cannot_be_removed_is_a_warning(dirs):
    workdir = dirs.folder(NodePath("load"), 1)
    (workdir.path / "sub").mkdir()
    (workdir.path / "sub" / "file").touch()
    (workdir.path / "sub").chmod(0o500)
    (said,) = workdir.discard()
    assert "load.attempt-1.part of a failed attempt could not be removed: " in said
    os.chmod(os.path.join(workdir._home, "sub"), 0o700)
    assert workdir.discard() == []


def test_a_failure_to_remove_is_named(dirs, monkeypatch):
    import shutil

    def refuses(folder, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError("no")

    workdir = dirs.folder(NodePath("load"), 1)
    workdir.path  # noqa: B018
    monkeypatch.setattr(shutil, "rmtree", refuses)
    (said,) = workdir.discard()
    assert said.endswith("load.attempt-1.part of a failed attempt could not be removed: no")


def test_s11_an_abandoned_attempt_publishes_nothing_and_gets_no_new_folder(dirs, tmp_path):
    late = dirs.folder(NodePath("load"), 1)
    late.path.joinpath("file").touch()
    assert late.discard() == []
    retry = dirs.folder(NodePath("load"), 2)
    retry.path.joinpath("good").touch()
    assert retry.publish()
    assert late.publish() is False
    with pytest.raises(RuntimeError, match="this attempt was given up"):
        late.path  # noqa: B018
    os.mkdir(late._home)  # it goes on all the same
    assert late.publish() is False
    assert late.discard() == []
    assert below(tmp_path / "work" / "run-1") == ["load", "load/good"]


def test_a_folder_that_is_made_while_it_is_given_up_is_removed(dirs, tmp_path, monkeypatch):
    workdir = dirs.folder(NodePath("load"), 1)
    make = workdir._make

    def made_late(self):
        workdir.discard()
        make()

    monkeypatch.setattr(Workdir, "_make", made_late)
    with pytest.raises(RuntimeError, match="given up"):
        workdir.path  # noqa: B018
    dirs.close()
    assert below(tmp_path / "work") == []


def test_what_a_cut_off_run_has_left_is_replaced(dirs):
    (dirs.folder(NodePath("load"), 1).path / "old").touch()
    again = dirs.folder(NodePath("load"), 1)
    assert list(again.path.iterdir()) == []


def test_a_published_folder_is_never_replaced(dirs):
    first, second = (dirs.folder(NodePath("load"), attempt) for attempt in (1, 2))
    for workdir in (first, second):
        (workdir.path / "file").write_text(repr(workdir))
    assert first.publish()
    with pytest.raises(OSError):  # noqa: PT011
        second.publish()
    assert (first.published / "file").read_text() == repr(first)
    assert os.listdir(first.published.parent) == ["load"]
    assert dirs.close() == []


def test_many_threads_at_once(dirs, tmp_path):
    barrier = threading.Barrier(8)

    def item(number):
        workdir = dirs.folder(NodePath("parse", (number,)), 1)
        barrier.wait(30)
        workdir.path.joinpath("file").touch()
        workdir.publish() if number % 2 else workdir.discard()

    threads = [threading.Thread(target=item, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    dirs.close()
    assert sorted(os.listdir(tmp_path / "work" / "run-1" / "parse")) == ["1", "3", "5", "7"]


# --- another process --------------------------------------------------------------------------------------


def test_it_travels(dirs, tmp_path):
    here = dirs.folder(NodePath("load"), 1)
    there = Workdir.arrived(here.travel())
    (there.path / "file").touch()
    assert there.published == here.published
    assert here.publish() is True
    assert below(tmp_path / "work" / "run-1") == ["load", "load/file"]


def test_s14_what_a_killed_process_has_made_is_removed(dirs, tmp_path):
    here = dirs.folder(NodePath("load"), 1)
    Workdir.arrived(here.travel()).path  # noqa: B018
    assert here.discard() == []
    assert below(tmp_path / "work" / "run-1") == []


def test_one_that_was_lent_and_not_asked_for_is_nothing(dirs, tmp_path):
    for end in ("publish", "discard"):
        here = dirs.folder(NodePath(end), 1)
        here.travel()
        assert not getattr(here, end)()
    assert dirs.close() == []
    assert below(tmp_path) == []


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("load", "load"),
        ("load_2-b.c", "load_2-b.c"),
        (3, "3"),
        (-3, "-3"),
        ("sub/load", "sub%2fload"),
        ("a: → 'b'", "a%3a%20%e2%86%92%20%27b%27"),
        ("../x", "%2e.%2fx~"),
        (".", "%2e~"),
        ("..", "%2e.~"),
        ("", "~"),
        ("EU", "EU~"),
        ("3", "3~"),
        ("-3", "-3~"),
        ("con", "con~"),
        ("nul.txt", "nul.txt~"),
        ("end.", "end.~"),
        ("x.attempt-1.part", "x.attempt-1.part~"),
        ("\ud800\0", "%ed%a0%80%00"),
    ],
)
def test_g07_names_of_folders(part, name):
    found = file_name(part)
    assert found == name or (name.endswith("~") and found.rpartition("~")[0] + "~" == name)


ANY = st.text(max_size=30) | st.text("aA.%~/3-", max_size=6) | st.integers()


@given(st.lists(ANY, unique_by=lambda part: (type(part), part), max_size=20))
def test_g03_no_two_names_meet_on_any_file_system(parts):
    names = [file_name(part) for part in parts]
    assert len({name.casefold() for name in names}) == len(parts)
    for name in names:
        assert name not in ("", ".", "..")
        assert name.isascii()
        assert len(name) <= 200
        assert not set(name) & set("/\\:*?\"<>|' \0")
        assert not name.endswith((".", ".part"))


def test_long_names_are_cut_and_stay_apart():
    names = {file_name("x" * 10_000), file_name("x" * 10_001), file_name("é" * 100)}
    assert len(names) == 3
    assert {len(name) for name in names} == {200}


# --- safety -----------------------------------------------------------------------------------------------


def test_folders_are_their_owners_alone(dirs, tmp_path):
    before = os.umask(0)
    try:
        dirs.folder(NodePath("parse", (1,)), 1).path  # noqa: B018
    finally:
        os.umask(before)
    work = tmp_path / "work"
    every = [work, work / "run-1", work / "run-1" / "parse", work / "run-1" / "parse" / "1.attempt-1.part"]
    assert {mode(path) for path in every} == {0o700}


def test_by_default_they_are_below_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir = Workdirs(RunOptions().workdir, "r").folder(NodePath("load"), 1)
    monkeypatch.chdir("/")
    assert workdir.path == tmp_path / ".penstock" / "work" / "r" / "load.attempt-1.part"
    assert mode(tmp_path / ".penstock") == 0o700


def test_a_base_that_anybody_can_change_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError, match=r"open can be changed by everybody \(mode 0777\)"):
        Workdirs(tmp_path / "open", "r").folder(NodePath("load"), 1).path  # noqa: B018
    (tmp_path / "open").chmod(0o1777)  # like /tmp, where nobody can replace what is not theirs
    assert Workdirs(tmp_path / "open", "r").folder(NodePath("load"), 1).path.exists()


def test_a_base_may_be_a_link_and_what_is_below_may_not(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "disk")
    dirs = Workdirs(tmp_path / "work", "r")
    dirs.folder(NodePath("load"), 1).path  # noqa: B018
    assert (tmp_path / "disk" / "r" / "load.attempt-1.part").is_dir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "disk" / "r" / "parse").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="parse should be a folder of this run, and is a link"):
        dirs.folder(NodePath("parse", (1,)), 1).path  # noqa: B018
    (tmp_path / "disk" / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="s should be a folder of this run"):
        Workdirs(tmp_path / "work", "s").folder(NodePath("load"), 1).path  # noqa: B018
    assert below(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("bad", ["", 3, b"x", ["x"]])
def test_the_option_takes_a_path(bad):
    with pytest.raises(ValueError, match="RunOptions: workdir is a path, not "):
        RunOptions(workdir=bad)
