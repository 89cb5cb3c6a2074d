"""Tables that say of each sentence of a contract which tests hold the code to it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
OTHERS = (HERE / "test_gates.py", HERE.parent / "cli" / "test_list.py", HERE.parent / "test_config.py")
"""Where sentences of the contract are tested that are not of one vocabulary alone."""

LATER = (["report"],)
"""In place of tests: what comes with a later part."""


def rows(text: str) -> dict[str, list[str]]:
    """The pieces of a table, each with the names of its tests, which stand below it behind arrows."""
    found = re.findall(r"((?:^\S.*\n)+)((?:^    -> .*\n)+)", text, re.M)
    return {" ".join(piece.split()): tests.replace("->", "").split() for piece, tests in found}


@cache
def names_of_tests(word: str) -> set[str]:
    """The names of all tests of a vocabulary."""
    found = set()
    for path in [*HERE.glob(f"test_{word}*.py"), *OTHERS]:
        for one in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_"):
                found.add(one.name)
    return found


def head_of(contract: str) -> str:
    """What the contract says before its sections."""
    return " ".join(contract[: contract.index("## A.")].split())


def left_of(contract: str, letter: str, text: str) -> str:
    """What a section of the contract says beyond a table.

    Raises:
        AssertionError: The table says what the section does not.
    """
    (section,) = re.findall(rf"^## {letter}\..*?(?=^## |\Z)", contract, re.M | re.S)
    left = " ".join(section.split())
    for piece in sorted(rows(text), key=len, reverse=True):
        assert piece in left, f"section {letter} of the contract says no more: {piece}"
        left = left.replace(piece, "", 1)
    return left.strip()
