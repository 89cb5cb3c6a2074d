"""One module a command. None of them may be imported before its command is asked for."""
