"""Runners whose attempts are made by the workers of an engine: of any executor, of Dask, of Ray.

Here (the driver): `runner` is what a run has, `desk` makes bundles of attempts and takes their endings,
`cluster` is what an engine must offer; `on_executor`, `on_dask` and `on_ray` offer it. How large a bundle is,
`runners.pace` says. There (a worker): `site` makes the attempts, in child processes that can be killed.
`bundle` is what travels between the two.
"""

from __future__ import annotations

from .runner import RemotePool, RemoteRunner

__all__ = ["RemotePool", "RemoteRunner"]
