"""The tests are tested: each small wrong put into a copy of the package must make one of them fail."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.mutants.mutants import MUTANTS, SOURCE, Mutant, Verdict, apply, judge, table

ALL = os.environ.get("PENSTOCK_MUTANTS") == "all"
FEW = ("a late reply is accepted", "a group closes before its last item", "a value is released too early")
CHOSEN = [mutant for mutant in MUTANTS if ALL or mutant.name in FEW]
VERDICTS: dict[str, Verdict] = {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_wrong_can_be_put_in(mutant, tmp_path):
    file = tmp_path / mutant.file
    file.parent.mkdir(parents=True)
    shutil.copy(SOURCE / mutant.file, file)
    apply(mutant, tmp_path)
    compile(file.read_text("utf-8"), mutant.file, "exec")


def test_the_wrongs_differ():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
def test_the_suite_passes_without_a_wrong(tmp_path):
    verdict = judge(None, tmp_path)
    assert verdict.caught_by is None, verdict.output


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.name)
def test_each_wrong_is_caught(mutant: Mutant, tmp_path, capsys):
    verdict = VERDICTS[mutant.name] = judge(mutant, tmp_path)
    with capsys.disabled():
        print(f"\n{table({mutant.name: verdict})}", file=sys.stderr)
    assert verdict.caught_by is not None
