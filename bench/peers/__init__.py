"""Others' engines beside Penstock, each in an environment of its own: `python -m bench.peers`."""
