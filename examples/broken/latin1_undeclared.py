"""Saved as Latin-1 by an old editor, with no declaration that says so."""

CITIES = ["Köln", "Málaga", "Orléans"]


def is_known(city: str) -> bool:
    return city in CITIES
