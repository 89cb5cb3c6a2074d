"""The runner contract, under the name that our own tests know it by."""

from penstock.testing.contract import PATIENCE, Rig, RunnerContract, context_of

__all__ = ["PATIENCE", "Rig", "RunnerContract", "context_of"]
