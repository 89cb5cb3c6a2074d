"""The floor, a row and a commit a step: `python -m bench.peers.raw_run rows NORMAL|FULL STEPS PATH`."""

from __future__ import annotations

from bench import durable_floors
from bench.peers.apart import asked, report


def main() -> None:
    job = asked()
    raw = durable_floors.Raw(job.path, "power" if job.how == "FULL" else "process")
    bodies = durable_floors.bodies(job.steps)
    try:
        report(job, lambda: durable_floors.commit_each(raw, bodies), ())
    finally:
        raw.close()


if __name__ == "__main__":
    main()
