"""The core: what is always true of a graph, a run and its facts. It imports nothing above itself."""
