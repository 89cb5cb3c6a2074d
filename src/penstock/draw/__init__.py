"""A graph as text, Mermaid or DOT. Never asks how it is run, and builds nothing from a name by pasting."""
