"""Where attempts are made: from names to runners."""

from __future__ import annotations

from penstock.core.amounts import shown as shown_value
from penstock.core.errors import InputError
from penstock.core.model import RunOptions
from penstock.core.ports import RUNNERS, Pool, Runner, no_runner


def make_runner(name: str, options: RunOptions) -> Runner:
    """A fresh runner by its name, for one run.

    Raises:
        InputError: There is no such runner.
    """
    if name == "threads":
        from penstock.runners.threads import ThreadRunner

        return ThreadRunner()
    if name == "inline":
        from penstock.runners.inline import InlineRunner

        return InlineRunner()
    if name == "aio":
        from penstock.runners.aio import AioRunner

        return AioRunner()
    if name == "processes":
        from penstock.runners.processes import own_runner

        return own_runner(options)
    raise no_runner(name)


def threads(size: int) -> Runner:
    """What ``runner=None`` stands for, with at least so many threads; for one run."""
    from penstock.runners.threads import ThreadRunner

    made = ThreadRunner()
    if made.size < size:
        made = ThreadRunner(size)
    made.is_usual = True
    return made


def processes(size: int | None = None, *, kill_grace: float = 0.0, prefetch: int | None = None) -> Pool:
    """A pool of worker processes, to be lent to runs: ``with processes(4) as pool: flow.run(runner=pool)``.

    Args:
        size: Processes at most; by default as many as there are processors.
        kill_grace: Seconds between SIGTERM and SIGKILL for an attempt past its time; 0 kills at once.
        prefetch: Attempts that wait in the workers' pipes, beyond those that run; None for a good number.
    """
    from penstock.runners.processes import ProcessPool

    return ProcessPool(size, kill_grace=kill_grace, prefetch=prefetch)


def lent_runner(runner: object, options: RunOptions) -> Runner | None:
    """The runner that the caller lends, or one of the pool that they lend; None if there is but a name.

    Raises:
        InputError: It is none of these.
    """
    if runner is None or isinstance(runner, str):
        if runner is not None and runner not in RUNNERS:
            raise no_runner(runner)
        return None
    if isinstance(runner, Pool):
        return runner.for_run(options)
    if isinstance(runner, type) or not isinstance(runner, Runner):
        raise InputError(
            f"runner takes the name of a runner (one of {', '.join(RUNNERS)}), a runner or a pool, "
            f"not {shown_value(runner)}"
        )
    return runner
