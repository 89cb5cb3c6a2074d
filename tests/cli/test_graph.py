"""`penstock graph`: where a drawing goes."""

import io
import os
import stat
import sys
import threading
from xml.etree import ElementTree

import pytest

SMALL = """
from penstock import Flow, each

flow = Flow("small")

@flow.step
def many() -> list[int]:
    return [1, 2]

@flow.step
def one(x: int = each(many)) -> int:
    raise AssertionError("a drawing runs nothing")
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def small(files):
    (files / "small.py").write_text(SMALL)
    return files


def test_a_picture_is_written_to_a_file(call, small):
    drawn = call("graph", "small.py", "--format", "svg", "--output", "small.svg", "--theme", "dark")
    assert (drawn.code, drawn.out, drawn.err) == (0, "", "")
    picture = (small / "small.svg").read_text("utf-8")
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "prefers-color-scheme" not in picture
    assert [path.name for path in small.glob("*.part")] == []


def test_a_picture_is_sent_to_another_program(call, small):
    assert call("graph", "small.py", "-f", "svg").out.startswith("<svg ")


def test_a_picture_is_no_text_for_a_terminal(call, small, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    drawn = call("graph", "small.py", "-f", "svg")
    assert drawn.code == 2
    assert "--output FILE" in drawn.err
    assert screen.getvalue() == ""


def test_maps_are_one_box_on_request(call, small):
    assert 'class="pk-m"' in call("graph", "small.py", "-f", "svg", "--no-group").out
    assert 'class="pk-m"' not in call("graph", "small.py", "-f", "svg", "--group").out


def test_text_goes_to_a_file_as_well(call, small):
    assert call("graph", "small.py", "-o", "small.txt").out == ""
    assert "◆  one" in (small / "small.txt").read_text("utf-8")


def test_a_place_that_cannot_be_written_is_told(call, small):
    drawn = call("graph", "small.py", "-f", "svg", "-o", "nowhere/small.svg")
    assert drawn.code == 2
    assert "small.svg" in drawn.err
    assert "cannot be written" in drawn.err
    assert "Traceback" not in drawn.err


def test_what_stands_there_stays_what_it_is(call, small):
    """A link leads to the new picture, and a pipe takes it, as of any program that writes a file."""
    (small / "real.svg").write_text("before")
    (small / "link.svg").symlink_to("real.svg")
    assert call("graph", "small.py", "-f", "svg", "-o", "link.svg").code == 0
    assert (small / "link.svg").is_symlink()
    assert (small / "real.svg").read_text("utf-8").startswith("<svg ")
    os.mkfifo(small / "pipe")
    taken: list[str] = []
    reader = threading.Thread(target=lambda: taken.append((small / "pipe").read_text("utf-8")))
    reader.start()
    assert call("graph", "small.py", "-f", "svg", "-o", "pipe").code == 0
    reader.join(30)
    assert taken[0].startswith("<svg ")
    assert stat.S_ISFIFO((small / "pipe").stat().st_mode)
