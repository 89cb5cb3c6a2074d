"""From words to parts: the one place that knows which runner, store or observer a name means, and puts a run
together. Each part is imported when it is used, and not before.
"""

from .fitting import check_processes, complete
from .reports import report
from .runners import dask, executor, make_runner, processes, ray, threads
from .runs import Prepared, arun, new_run_id, prepared, run, run_prepared, start
from .showing import configured, discover, drawing, log_text, pictured, shown, shown_run, shown_runs
from .stores import diagnosis, open, open_store, salvage, store_path, texts
from .watchers import exporting, followed, progress, tracing

__all__ = [
    "Prepared", "arun", "check_processes", "complete", "configured", "dask", "diagnosis", "discover",
    "drawing", "executor", "exporting", "followed", "log_text", "make_runner", "new_run_id", "open",
    "open_store", "pictured", "prepared", "processes", "progress", "ray", "report", "run", "run_prepared",
    "salvage", "shown", "shown_run", "shown_runs", "start", "store_path", "texts", "threads", "tracing",
]  # fmt: skip
