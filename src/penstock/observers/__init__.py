"""Who is told of a run: a tally of its events, and what people see of it, meanwhile and at its end."""
