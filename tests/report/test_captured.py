"""Pictures of values, by their own hand."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import base64
import sys
from types import ModuleType
from typing import Any

import pytest

from penstock.report import captured

PNG = b"\x89PNG..."


class Pixels:
    def _repr_png_(self) -> Any:
        return PNG


class Both(Pixels):
    def _repr_svg_(self) -> str:
        return "<svg/>"


class Bundle(Both):
    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return {"text/plain": "x", "text/html": "<b>bundle</b>"}, {}


class WithNotes(Pixels):
    def _repr_png_(self) -> Any:
        return PNG.decode("latin-1").encode("latin-1"), {"width": 3}


class Raising(Both):
    def _repr_svg_(self) -> str:
        raise ValueError("no")


class Empty:
    def _repr_html_(self) -> None:
        return None


class Boundless:
    def _repr_html_(self) -> str:
        return "x" * (captured.LARGEST + 1)


def of(*values: Any) -> list[tuple[str, str, str]]:
    found, _ = captured.figures((f"v{number}", value) for number, value in enumerate(values))
    return [tuple(one) for one in found]  # type: ignore[misc]


def test_what_an_object_has_to_show_is_shown():
    encoded = base64.b64encode(PNG).decode()
    assert of(Pixels(), Both(), Bundle(), WithNotes()) == [
        ("v0", "image/png", encoded),
        ("v1", "image/svg+xml", "<svg/>"),
        ("v2", "text/html", "<b>bundle</b>"),
        ("v3", "image/png", encoded),
    ]


@pytest.mark.parametrize("value", [1, "text", None, [Pixels()], Pixels, Empty(), Raising()])
def test_what_has_nothing_to_show_or_fails_at_it_is_left_out(value):
    assert of(value) == []


def test_figures_of_matplotlib_are_saved(monkeypatch):
    class Drawn:
        def savefig(self, file: Any, **how: Any) -> None:
            assert how["format"] == "png"
            file.write(PNG)

    module: Any = ModuleType("matplotlib.figure")
    module.Figure = Drawn
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    assert of(Drawn()) == [("v0", "image/png", base64.b64encode(PNG).decode())]


def test_there_is_an_end_to_it():
    found, dropped = captured.figures((str(number), Pixels()) for number in range(captured.MOST + 5))
    assert len(found) == captured.MOST
    assert dropped == [f"pictures beyond the first {captured.MOST}"]
    found, dropped = captured.figures(iter([("large", Boundless())]))
    assert not found
    assert dropped == ["the picture of 'large': it has 1,048,577 characters"]
