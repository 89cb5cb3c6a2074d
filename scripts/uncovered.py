"""Lists the failure modes that no test is named after.

The catalogue is `failure-modes.md` in $PENSTOCK_SHARED, or in `shared` beside the repository. A test covers
S01 when it is called `test_s01_...`, and both S01 and S02 when it is called `test_s01_s02_...`. The exit code
is 1 only where a test names a failure mode that is not in the catalogue, 2 where there is no catalogue.
"""

import ast
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ROW = re.compile(r"^\|\s*([A-Z]\d\d)\s*\|")
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


def main() -> int:
    source = Path(os.environ.get("PENSTOCK_SHARED") or ROOT.parent / "shared") / "failure-modes.md"
    if not source.is_file():
        print("failure-modes.md not found; set PENSTOCK_SHARED to its directory", file=sys.stderr)
        return 2
    known = catalogue(source.read_text("utf-8"))
    covered: set[str] = set()
    unknown: list[str] = []
    for name, path in [*test_names(ROOT / "tests"), *test_names(ROOT / "src" / "penstock" / "testing")]:
        for mode in ids_in(name):
            covered.add(mode)
            if mode not in known:
                unknown.append(
                    f"{path.relative_to(ROOT)}: {name} names {mode}, which is not in the catalogue"
                )
    for letter in sorted({mode[0] for mode in known}):
        of_letter = [mode for mode in known if mode[0] == letter]
        missing = [mode for mode in of_letter if mode not in covered]
        print(
            f"{letter}  {len(of_letter) - len(missing):3}/{len(of_letter):<3}  {' '.join(missing)}".rstrip()
        )
    print(f"all {len(covered.intersection(known))}/{len(known)}")
    for line in unknown:
        print(line, file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
