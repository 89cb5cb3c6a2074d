"""Where attempts are made: from names, addresses and lent objects to runners."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.core.amounts import shown as shown_value
from penstock.core.errors import InputError
from penstock.core.model import RunOptions
from penstock.core.ports import ENGINES, RUNNERS, Pool, Runner, check_runner, no_runner

if TYPE_CHECKING:
    from concurrent.futures import Executor


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
    if name in ENGINES:
        return _own_remote(name, None, options)
    if name == "executor":
        raise InputError(
            "runner='executor' stands for an executor that the run is lent: say "
            "flow.run(runner=penstock.executor(ProcessPoolExecutor(4)))"
        )
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


def executor(executor: Executor, *, size: int | None = None, kill_grace: float = 0.0) -> Pool:
    """An executor of `concurrent.futures`, or one that is made like those, to be lent to runs.

    Its workers are processes of this machine, or the threads of a `ThreadPoolExecutor`, which a run borrows:
    then values are passed as they are, and its steps run on ``runner="threads"``. It stays the caller's, who
    closes it.

    Args:
        executor: It.
        size: Calls that it makes at a time; None to ask it.
        kill_grace: See `processes`.

    Raises:
        InputError: It is none, or does not say how many calls it makes at a time.
    """
    made: Pool = _lent_threads(executor, size) or _pool(_executor(executor, size), kill_grace)
    return made


def dask(
    cluster: Any = None,
    *,
    size: int | None = None,
    kill_grace: float = 0.0,
    options: Mapping[str, Any] | None = None,
) -> Pool:
    """Workers of Dask, to be lent to runs: ``with dask("tcp://host:8786") as pool: flow.run(runner=pool)``.

    Args:
        cluster: Address of a scheduler, a `distributed.Client`, or a cluster object; None to start a cluster
            on this machine, which ends with the pool.
        size: Workers of one that is started; by default as many as there are processors.
        kill_grace: See `processes`.
        options: What each bundle asks of Dask, as arguments of `Client.submit`, such as
            ``{"resources": {"GPU": 1}}``.

    Raises:
        InputError: The extra is not installed.
    """
    made: Pool = _pool(_dask(cluster, size, options), kill_grace)
    return made


def ray(
    address: str | None = None,
    *,
    size: int | None = None,
    kill_grace: float = 0.0,
    options: Mapping[str, Any] | None = None,
) -> Pool:
    """Workers of Ray, to be lent to runs: ``with ray("auto") as pool: flow.run(runner=pool)``.

    Args:
        address: Of a cluster, as `ray.init` takes it: ``"host:6379"`` or ``"auto"`` on one of its machines,
            ``"ray://host:10001"`` from outside, which goes through Ray's client and needs ``ray[client]``.
            None for the one that the program is connected to, or that RAY_ADDRESS names, or else to start one
            for this machine alone, which ends with the pool. What the program has initialised stays its own.
        size: Processors of one that is started; by default as many as there are.
        kill_grace: See `processes`.
        options: What each bundle asks of Ray, as options of a task, such as ``{"num_gpus": 1}``: then
            Ray keeps a graphics card for it.

    Raises:
        InputError: The extra is not installed.
    """
    made: Pool = _pool(_ray(address, size, options), kill_grace)
    return made


def lent_runner(runner: object, options: RunOptions) -> Runner | None:
    """The runner that the caller lends, or one of the pool that they lend; None if there is but a name.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(runner, str):
        check_runner(runner)
        name, mark, address = runner.partition("://")
        return _own_remote(name, address, options) if mark else None
    if runner is None:
        return None
    if isinstance(runner, Pool):
        return runner.for_run(options)
    if (lent := _of_others(runner, options)) is not None:
        return lent
    if isinstance(runner, type) or not isinstance(runner, Runner):
        raise InputError(
            f"runner takes the name of a runner (one of {', '.join(RUNNERS)}), an address such as "
            f"'dask://host:8786', a runner or a pool, not {shown_value(runner)}"
        )
    return runner


def _own_remote(name: str, address: str | None, options: RunOptions) -> Runner:
    """A runner for one run, at an engine of this name, with a pool that ends with it."""
    from penstock.runners.remote import RemoteRunner

    if name == "ray":
        made = _ray(address if address in (None, "auto") else f"ray://{address}", None)
    else:
        made = _dask(None if address is None else f"tcp://{address}", None)
    return RemoteRunner(_pool(made), options, owns=True)


def _of_others(lent: object, options: RunOptions) -> Runner | None:
    """A runner on something that another library has made, and that is known here."""
    from penstock.runners.remote import RemoteRunner

    futures: Any = sys.modules.get("concurrent.futures._base")
    if futures is not None and isinstance(lent, futures.Executor):
        if (threads := _lent_threads(lent, None)) is not None:
            made: Runner = threads.for_run(options)
            return made
        return RemoteRunner(_pool(_executor(lent, None)), options, owns=True)
    if type(lent).__module__.partition(".")[0] == "distributed":
        return RemoteRunner(_pool(_dask(lent, None)), options, owns=True)
    return None


def _pool(cluster: Any, kill_grace: float = 0.0) -> Any:
    from penstock.runners.remote import RemotePool

    return RemotePool(cluster, kill_grace=kill_grace)


def _lent_threads(lent: object, size: int | None) -> Any:
    """The threads of an executor, if it has some of this interpreter."""
    threads: Any = sys.modules.get("concurrent.futures.thread")
    if threads is None or not isinstance(lent, threads.ThreadPoolExecutor):
        return None
    if type(lent).__name__ == "InterpreterPoolExecutor":
        raise InputError(
            "the threads of an InterpreterPoolExecutor have interpreters of their own, in which no run is: "
            "lend a ThreadPoolExecutor or a ProcessPoolExecutor"
        )
    from penstock.runners.threads import LentThreads

    return LentThreads(lent, size)


def _executor(executor: Any, size: int | None) -> Any:
    from penstock.runners.remote.on_executor import ExecutorCluster

    try:
        return ExecutorCluster(executor, size)
    except ValueError as error:
        raise InputError(str(error)) from None


def _dask(cluster: Any, size: int | None, options: Mapping[str, Any] | None = None) -> Any:
    try:
        from penstock.runners.remote.on_dask import DaskCluster
    except ImportError as error:
        raise _missing("dask", error) from None
    return DaskCluster(cluster, size, options)


def _ray(address: str | None, size: int | None, options: Mapping[str, Any] | None = None) -> Any:
    try:
        from penstock.runners.remote.on_ray import RayCluster
    except ImportError as error:
        raise _missing("ray", error) from None
    return RayCluster(address, size, options)


def _missing(name: str, error: ImportError) -> InputError:
    said = f"runner={name!r} needs what is not installed ({error})"
    return InputError(f"{said}: pip install 'penstock[{name}]'")
