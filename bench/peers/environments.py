"""An environment of its own for each peer, with exact pins; and commands that are run in it."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench import durable_floors
from bench.peers import apart

HERE = Path(__file__).resolve().parent
ROOT = apart.ROOT
PATIENCE = 300.0
SETTLED = 7
"""Days that a release must be old to be pinned."""


class Failed(Exception):
    """An environment could not be made, or a script did not do what it was to do; why, in words."""


class Environment(NamedTuple):
    """Where scripts run.

    Attributes:
        python: The interpreter.
        home: What the engine takes for the user's home; it keeps there what a second start finds.
    """

    python: Path
    home: Path


def pins_of(peer: str) -> Path:
    """The file with its exact versions and their hashes."""
    return HERE / f"requirements-{peer}.txt"


def environment(peer: str) -> Environment:
    """A peer's environment, which is made anew if its pins are not those that it has."""
    pins = pins_of(peer).read_text("utf-8")
    folder = durable_floors.ROOM / "peers" / peer
    made, stamp = Environment(folder / "bin" / "python", folder / "home"), folder / "installed.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != pins:
        print(f"{peer}: making its environment in .bench/peers/{peer}", flush=True)
        call([sys.executable, "-m", "venv", "--clear", str(folder)])
        call([*installer(made.python), "--require-hashes", "--requirement", str(pins_of(peer))], seconds=900)
        stamp.write_text(pins, encoding="utf-8")
    made.home.mkdir(exist_ok=True)
    return made


def installer(python: Path) -> list[str]:
    """How packages come into an environment: with uv if there is one, which is faster."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def lock(peer: str) -> None:
    """Compiles `requirements-PEER.in` to the pins of all that it needs, with hashes; needs uv."""
    uv = shutil.which("uv")
    if not uv:
        raise Failed("compiling pins needs uv, which is not on the path")
    settled = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=SETTLED)
    given = ["--generate-hashes", "--universal", "--no-header", "--no-emit-index-url", "--upgrade"]
    given += ["--python-version", "3.11", "--exclude-newer", settled.isoformat()]
    source = f"bench/peers/requirements-{peer}.in"
    call([uv, "pip", "compile", "--quiet", *given, source, "--output-file", str(pins_of(peer))])


def call(
    command: list[str],
    *,
    home: Path | None = None,
    folder: Path = ROOT,
    paths: tuple[Path, ...] = (),
    seconds: float = PATIENCE,
) -> str:
    """What a command prints.

    Args:
        command: The program and its arguments.
        home: If it is to see nothing of the user's: what it takes for the home instead.
        folder: Where it runs.
        paths: Where Python looks for modules too, if there is a home.
        seconds: When it is given up.

    Raises:
        Failed: It was given up, or failed; with the last thing it said.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=apart.environment(home, paths) if home else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, complained = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # an engine's servers and workers too
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Failed(f"not done after {seconds:.0f} s") from None
        raise
    if process.returncode:
        said = [line for line in (complained or printed).splitlines() if line.strip()]
        raise Failed(said[-1] if said else f"exit code {process.returncode}")
    return printed
