"""Penstock measured against what an expert writes by hand, in the same run: `python -m bench`."""
