"""HTML and SVG that cannot be broken by what is written into it: text is escaped unless it is Markup."""

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is HTML already. Only `tag`, `joined` and the page's own template make it."""

    __slots__ = ()


def tag(name: str, /, *inside: object, **attributes: object) -> Markup:
    """An element. `class_` stands for `class`, `_` for `-`; an attribute that is None is left out."""
    head = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(number(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{head}>{joined(inside)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Markup:
    return Markup(between.join(part if isinstance(part, Markup) else escape(str(part)) for part in parts))


def number(value: object) -> object:
    """Coordinates with one decimal; everything else as it is."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
