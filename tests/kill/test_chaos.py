"""A sample of `make chaos`: workers of Dask and of Ray are killed, one every second, while runs go on."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"dask": "distributed", "ray": "ray"}
SECONDS = 30


@pytest.mark.parametrize("engine", MODULES)
def test_x01_x03_workers_are_killed_every_second(engine):
    if "1" not in (os.environ.get("PENSTOCK_REQUIRE_ALL"), os.environ.get("PENSTOCK_CHAOS")):
        pytest.skip(f"takes {SECONDS} s and more: set PENSTOCK_CHAOS=1, or say `make chaos`")
    if find_spec(MODULES[engine]) is None:
        pytest.skip(f"program missing: {MODULES[engine]}")
    command = [sys.executable, "-m", "tests.kill.chaos", engine, "--seconds", str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all exact, none stranded, nothing repeated" in done.stdout
