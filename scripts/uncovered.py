"""Lists the failure modes that no test is named after.

The catalogue is `failure-modes.md` in $PENSTOCK_SHARED, or in `shared` beside the repository. A test covers
S01 when it is called `test_s01_...`, and both S01 and S02 when it is called `test_s01_s02_...`. What
`docs/failure-modes.md` gives a reason for, instead of a test, is listed apart. The exit code is 1 only where
names, page and catalogue contradict each other, 2 where there is no catalogue.
"""

import ast
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "failure-modes.md"

ROW = re.compile(r"^\|\s*([A-Z]\d\d)\s*\|")
PAGE_ROW = re.compile(r"^\|\s*([A-Z]\d\d)\s*\|[^|]+\|(.*)\|\s*$")
IN_PAGE = re.compile(r"`(test_\w+)`")
NOT_YET = "not yet: "
TEST_IDS = re.compile(r"test_((?:[a-z]\d\d_)*[a-z]\d\d)(?:_|$)")


def catalogue(text: str) -> list[str]:
    """The ids of every table whose first column is headed `id`, in order."""
    ids: list[str] = []
    in_table = False
    for line in text.splitlines():
        if not line.startswith("|"):
            in_table = False
        elif re.match(r"^\|\s*id\s*\|", line):
            in_table = True
        elif in_table and (row := ROW.match(line)):
            ids.append(row[1])
    return ids


def ids_in(name: str) -> list[str]:
    """The failure modes that a test of this name covers."""
    match = TEST_IDS.match(name)
    return match[1].upper().split("_") if match else []


def test_names(tests: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, path


def all_tests() -> dict[str, Path]:
    """Every test by its name, also those of the runner contract that others inherit."""
    return dict([*test_names(ROOT / "tests"), *test_names(ROOT / "src" / "penstock" / "testing")])


def page_rows(text: str) -> list[tuple[str, str]]:
    """The rows of `docs/failure-modes.md`: an id, and what is said of its tests."""
    return [(row[1], row[2].strip()) for line in text.splitlines() if (row := PAGE_ROW.match(line))]


def contradictions(rows: list[tuple[str, str]], tests: Collection[str], known: Collection[str]) -> list[str]:
    """What is wrong with the page.

    Args:
        rows: Of the page.
        tests: The names of all tests there are.
        known: The ids of the catalogue; empty where there is none.
    """
    found: list[str] = []
    listed = [mode for mode, _ in rows]
    covered = {mode for name in tests for mode in ids_in(name)}
    found += [f"{mode} has two rows" for mode in sorted({mode for mode in listed if listed.count(mode) > 1})]
    groups = {mode[0] for mode in listed}
    found += [f"{mode} has no row" for mode in known if mode[0] in groups and mode not in listed]
    found += [f"{mode} is not in the catalogue" for mode in listed if known and mode not in known]
    for mode, said in rows:
        named = IN_PAGE.findall(said)
        found += [f"{mode}: there is no {name}" for name in named if name not in tests]
        if said.startswith(NOT_YET):
            if mode in covered:
                found.append(f"{mode} is said to be for later, and has a test")
            continue
        if not any(mode in ids_in(name) for name in named):
            found.append(f"{mode} has neither a test of its name nor a reason")
        found += [f"{mode}: {name} is not named after it" for name in named if mode not in ids_in(name)]
    return found


def report(known: list[str], covered: Collection[str], explained: Mapping[str, str]) -> None:
    """Prints a line for each group of the catalogue."""
    for letter in sorted({mode[0] for mode in known}):
        of_letter = [mode for mode in known if mode[0] == letter]
        missing = [mode for mode in of_letter if mode not in covered and mode not in explained]
        later = [mode for mode in of_letter if mode not in covered and mode in explained]
        words = " ".join(missing + ([f"(later: {' '.join(later)})"] if later else []))
        many = len(of_letter) - len(missing) - len(later)
        print(f"{letter}  {many:3}/{len(of_letter):<3}  {words}".rstrip())
    print(f"all {len(set(covered).intersection(known))}/{len(known)}")


def main() -> int:
    source = Path(os.environ.get("PENSTOCK_SHARED") or ROOT.parent / "shared") / "failure-modes.md"
    if not source.is_file():
        print("failure-modes.md not found; set PENSTOCK_SHARED to its directory", file=sys.stderr)
        return 2
    known = catalogue(source.read_text("utf-8"))
    names = all_tests()
    rows = page_rows(PAGE.read_text("utf-8"))
    covered = {mode for name in names for mode in ids_in(name)}
    report(known, covered, {mode: said for mode, said in rows if said.startswith(NOT_YET)})
    wrong = [
        f"{path.relative_to(ROOT)}: {name} names {mode}, which is not in the catalogue"
        for name, path in names.items()
        for mode in ids_in(name)
        if mode not in known
    ]
    wrong += [f"{PAGE.relative_to(ROOT)}: {line}" for line in contradictions(rows, names, known)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
