"""The steps of the runner contract, under the name that our own tests know them by."""

from penstock.testing.contract_steps import *  # noqa: F403
