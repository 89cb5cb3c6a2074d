"""Other vocabularies for the same graphs: each module speaks one, and compiles it to `core.graph`."""
