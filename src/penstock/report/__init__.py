"""The report of a run: what is known of it, what follows from that, and the page that shows it.

data (values) < timing (attempts from a journal) < analysis, forecast (conclusions), steps < collect, live
(whole reports) < page. Reads runs through `core.history` and `core.result`; never writes to one.
"""
