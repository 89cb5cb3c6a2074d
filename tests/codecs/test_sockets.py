"""The sockets of other libraries are found by name, and loaded only when a value or a form asks."""

import json
import subprocess
import sys

import pytest

from penstock import codecs
from penstock.core.codec import Codec
from penstock.core.errors import CannotDecode

LIBRARIES = ("numpy", "pyarrow", "pandas", "polars", "pydantic")


def test_no_library_is_loaded_before_it_is_needed():
    code = f"""
import sys
from penstock.codecs import find
from penstock.core.codec import Codec
one = Codec(sockets=find)
one.decode([1, {{"$tuple": [one.encode({{"a": (1, {{2}}, b"3", 4j)}})]}}])
print([name for name in {LIBRARIES} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("word", ["", "os", "numpyx", "penstock", "arrow", "..", "__main__"])
def test_no_other_name_leads_anywhere(word, monkeypatch):
    monkeypatch.setattr(codecs, "import_module", None)
    assert codecs.find(word) is None
    with pytest.raises(CannotDecode, match="does not know"):
        Codec(sockets=codecs.find).decode({f"${word}.array": 1})


@pytest.mark.parametrize("word", LIBRARIES)
def test_a_form_of_a_library_that_is_not_here_says_what_to_install(word, monkeypatch):
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    with pytest.raises(CannotDecode, match=f"pip install {word}"):
        Codec(sockets=codecs.find).decode(json.loads(f'[{{"${word}.x": 1}}]'))


def test_a_library_that_does_not_work_is_our_error(monkeypatch):
    def broken(name):
        raise ImportError("no such part")

    monkeypatch.setattr(codecs, "find_spec", lambda name: name)
    monkeypatch.setattr(codecs, "import_module", broken)
    with pytest.raises(CannotDecode, match="does not work here: no such part"):
        Codec(sockets=codecs.find).decode({"$numpy.array": 1})
