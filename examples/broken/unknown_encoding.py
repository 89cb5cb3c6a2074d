# -*- coding: utf-9 -*-
"""A slip of the finger in the declaration above: there is no such encoding."""


def greet(name: str) -> str:
    return f"hello, {name}"
