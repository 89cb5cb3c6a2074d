"""Where a run comes from, as far as files tell."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock.core import provenance
from penstock.core.provenance import about

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def repository(folder: Path, head: str, **files: str) -> Path:
    """A folder with what git would have there."""
    git = folder / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text(head)
    for name, text in files.items():
        path = git / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def said(origin: Any) -> tuple[str | None, str | None]:
    found = about(origin)
    return found.get("commit"), found.get("branch")


def test_it_says_which_python_and_which_version() -> None:
    found = about(version="1.2.3")
    assert found["python"] == sys.version.split()[0]
    assert found["platform"].startswith(sys.platform)
    assert found["penstock"] == "1.2.3"
    assert "penstock" not in about()
    assert all(isinstance(text, str) for pair in found.items() for text in pair)


def test_the_commit_of_a_branch(tmp_path: Path) -> None:
    repository(tmp_path, "ref: refs/heads/main\n", refs__heads__main=f"{COMMIT}\n")
    deep = tmp_path / "src" / "shop"
    deep.mkdir(parents=True)
    (deep / "steps.py").write_text("")
    assert said(str(tmp_path)) == said(str(deep)) == said(str(deep / "steps.py")) == (COMMIT, "main")


def test_the_commit_of_a_packed_branch(tmp_path: Path) -> None:
    packed = (
        f"# pack-refs with: peeled fully-peeled sorted\n{OTHER} refs/heads/mai\n{COMMIT} refs/heads/main\n"
    )
    repository(tmp_path, "ref: refs/heads/main\n", packed_refs=packed)
    assert said(str(tmp_path)) == (COMMIT, "main")


def test_a_loose_branch_counts_before_a_packed_one(tmp_path: Path) -> None:
    packed = f"{OTHER} refs/heads/main\n"
    repository(tmp_path, "ref: refs/heads/main\n", packed_refs=packed, refs__heads__main=COMMIT)
    assert said(str(tmp_path)) == (COMMIT, "main")


def test_a_detached_head(tmp_path: Path) -> None:
    assert said(str(repository(tmp_path, f"{COMMIT}\n"))) == (COMMIT, None)


def test_a_work_tree_beside_the_main_one(tmp_path: Path) -> None:
    main = repository(tmp_path / "main", "ref: refs/heads/main\n", refs__heads__side=COMMIT)
    tree = main / ".git" / "worktrees" / "side"
    tree.mkdir(parents=True)
    (tree / "HEAD").write_text("ref: refs/heads/side\n")
    (tree / "commondir").write_text("../..\n")
    side = tmp_path / "side"
    side.mkdir()
    (side / ".git").write_text(f"gitdir: {tree}\n")
    assert said(str(side)) == (COMMIT, "side")
    (side / ".git").write_text("gitdir: ../main/.git/worktrees/side\n")
    assert said(str(side)) == (COMMIT, "side")


@pytest.mark.parametrize(
    "head",
    [
        "",
        "ref: refs/heads/none",
        "ref: ../../secret",
        "ref: refs/../../secret",
        "nonsense",
        "0" * 39,
        "\0",
        "é",
    ],
)
def test_what_is_no_commit_is_not_said(tmp_path: Path, head: str) -> None:
    (tmp_path / "secret").write_text(COMMIT)
    assert said(str(repository(tmp_path / "shop", head))) == (None, None)


def test_the_files_of_git_that_cannot_be_read_are_not_there(tmp_path: Path) -> None:
    (tmp_path / ".git" / "HEAD").mkdir(parents=True)
    assert said(str(tmp_path)) == (None, None)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git to compare with")
def test_git_says_the_same(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        me = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
        done = subprocess.run(["git", *me, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "trunk")
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert said(str(tmp_path)) == (git("rev-parse", "HEAD"), "trunk")
    git("pack-refs", "--all")
    assert said(str(tmp_path)) == (git("rev-parse", "HEAD"), "trunk")
    git("worktree", "add", "-q", "-b", "side/one", str(tmp_path / "beside"))
    git("commit", "-q", "--allow-empty", "-m", "second")
    assert said(str(tmp_path / "beside")) == (git("rev-parse", "side/one"), "side/one")
    assert said(str(tmp_path)) == (git("rev-parse", "trunk"), "trunk")


def test_a_function_is_looked_for_where_it_is_written_and_one_of_a_library_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository(tmp_path, f"{COMMIT}\n"))
    found: dict[str, Any] = {}
    shop = repository(tmp_path / "shop", f"{OTHER}\n")
    (shop / "steps.py").write_text("")
    exec(compile("def f(): ...", str(shop / "steps.py"), "exec"), found)
    assert said(found["f"]) == said(functools.lru_cache(found["f"])) == (OTHER, None)
    for other in (pytest.fixture, len, str(tmp_path / "absent"), "<stdin>", None, 3):
        assert said(other) == (COMMIT, None)


def test_a_folder_that_is_gone_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert said(None) == (None, None)


def test_packages_that_were_imported_are_said_with_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_VERSIONS", {})
    found = about()
    assert found["package pytest"] == pytest.__version__
    assert not {"package os", "package tests", "package penstock"} & found.keys()
    assert about() == found


def test_there_are_fifty_of_them_at_most_and_odd_ones_raise_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    most = provenance._MOST
    monkeypatch.setattr(provenance, "_VERSIONS", {})
    monkeypatch.setattr(provenance, "_MOST", 10_000)  # other tests may have imported more than 50

    def module(name: str, **more: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(__file__=f"{os.sep}site-packages{os.sep}{name}.py", **more)
        monkeypatch.setitem(sys.modules, name, made)

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    module("no_such_distribution")
    module("odd_version", __version__=3)
    module("right_version", __version__="3")
    monkeypatch.setitem(sys.modules, "hostile", Hostile())
    monkeypatch.setitem(sys.modules, "nothing", None)
    found = about()
    assert found["package right_version"] == "3"
    assert (
        not {f"package {name}" for name in ("no_such_distribution", "odd_version", "hostile")} & found.keys()
    )
    monkeypatch.setattr(provenance, "_MOST", most)
    for at in range(200):
        module(f"many{at}", __version__="1")
    assert sum(name.startswith("package ") for name in about()) <= most == 50
