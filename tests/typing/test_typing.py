"""The types that users see: what mypy accepts and what it refuses is part of the face."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXPECTED = re.compile(r"#\s*E:\s*(.+?)\s*$")
REPORTED = re.compile(r"^(?:.*[\\/])?(?P<file>\w+)\.py:(?P<line>\d+): error: (?P<text>.*)$")


def test_types(tmp_path: Path) -> None:
    bad = (HERE / "bad.py").read_text(encoding="utf-8").replace("# mypy: ignore-errors", "#")
    (tmp_path / "bad.py").write_text(bad, encoding="utf-8")
    (tmp_path / "good.py").write_bytes((HERE / "good.py").read_bytes())
    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "bad.py", "good.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    reported: dict[tuple[str, int], list[str]] = {}
    for line in mypy.stdout.splitlines():
        found = REPORTED.match(line)
        if found is not None and found["file"] in ("bad", "good"):
            reported.setdefault((found["file"], int(found["line"])), []).append(found["text"])
    wrong = [] if reported else [mypy.stdout + mypy.stderr]
    for number, line in enumerate(bad.splitlines(), 1):
        expected = EXPECTED.search(line)
        texts = reported.pop(("bad", number), [])
        if expected is not None and not any(expected[1] in text for text in texts):
            wrong.append(f"bad.py:{number}: expected {expected[1]!r}, got {texts}")
        elif expected is None and texts:
            reported["bad", number] = texts
    wrong += [f"{file}.py:{line}: unexpected {texts}" for (file, line), texts in reported.items()]
    assert not wrong, "\n".join(wrong)
