"""Pickle: only where it was asked for, signed, and not one byte read before that is checked."""

import fractions
import json
import os
import pickle
import stat
import warnings
from multiprocessing import get_context

import pytest

from penstock.core.codec import Codec, Signer
from penstock.core.errors import CannotDecode, NotStorable, StoreError

from .codec_kit import Line, Shelf

KEY = b"k" * 32


class Cat:
    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return type(other) is Cat and other.name == self.name


loaded: list[str] = []


def goes_off():
    loaded.append("went off")


class Bomb:
    def __reduce__(self):
        return goes_off, ()


def signing(key=KEY, **options):
    with pytest.warns(UserWarning, match="values of unknown types are pickled"):
        return Codec(pickle=Signer(key), **options)


def test_it_warns_once_at_the_start():
    one = signing()
    with warnings.catch_warnings(record=True) as seen:
        assert one.decode(json.loads(one.encode(Cat("x")))) == Cat("x")
    assert not seen


def test_without_asking_there_is_none():
    with pytest.raises(NotStorable, match="no codec knows"):
        Codec().encode(Cat("x"))


def test_only_what_nothing_else_takes_is_pickled():
    one = signing(types=[Line])
    assert "$pickle" not in one.encode([Line(1), (1,), {1: 2}, fractions.Fraction(1, 2)])
    text = one.encode({"a": [Cat("x")], "b": (1,)})
    assert text.count("$pickle") == 1
    assert one.decode(json.loads(text)) == {"a": [Cat("x")], "b": (1,)}


def test_what_a_codec_has_refused_is_not_pickled_instead():
    one = signing(types=[Line])
    line = Line(1)
    line.more = 1  # type: ignore[attr-defined]
    for value in (line, print, lambda: 1, pickle, ValueError("x")):
        with pytest.raises(NotStorable):
            one.encode([value])


def test_what_cannot_be_pickled_says_why_and_where():
    cat = Cat(lambda: 1)
    with pytest.raises(NotStorable, match="cannot be pickled") as caught:
        signing().encode({"a": cat})
    assert caught.value.path == "$.a"


def test_large_ones_go_where_large_values_are_kept():
    shelf = Shelf()
    one = signing(values=shelf)
    assert one.decode(json.loads(one.encode(Cat("x" * 100_000)))) == Cat("x" * 100_000)
    assert len(shelf.kept) == len(one.blobs) == 1


class TestForged:
    @staticmethod
    def body(mac):
        import base64

        return {"$pickle": base64.b64encode(pickle.dumps(Bomb())).decode(), "mac": mac}

    @pytest.mark.parametrize("mac", ["", "0" * 64, None, 5, "é" * 32, [], "ff" * 32])
    def test_no_byte_is_read_without_the_right_signature(self, mac):
        for one in (signing(), Codec()):
            with pytest.raises(CannotDecode):
                one.decode(self.body(mac))
        assert loaded == []

    def test_nor_with_another_key(self):
        data = json.loads(signing(b"a" * 32).encode(Cat("x")))
        with pytest.raises(CannotDecode, match="is not signed with this key, so it was not read"):
            signing(b"b" * 32).decode(data)

    def test_nor_with_the_signature_of_another_pickle(self):
        mac = json.loads(signing().encode(Cat("x")))["mac"]
        with pytest.raises(CannotDecode):
            signing().decode(self.body(mac))
        assert loaded == []

    def test_the_bomb_would_go_off(self):
        pickle.loads(pickle.dumps(Bomb()))
        assert loaded.pop() == "went off"

    def test_without_the_signer(self):
        data = json.loads(signing().encode(Cat("x")))
        with pytest.raises(CannotDecode, match="give the codec its Signer"):
            Codec().decode(data)


class TestKey:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def test_it_is_made_once_and_nobody_else_may_read_it(self, tmp_path):
        body = b"some bytes"
        first, second = Signer.from_user_config(), Signer.from_user_config()
        assert first.sign(body) == second.sign(body) != Signer(KEY).sign(body)
        path = tmp_path / "config" / "penstock" / "pickle.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [one.name for one in path.parent.iterdir()] == ["pickle.key"]

    def test_without_the_variable_it_is_below_the_home(self, tmp_path, monkeypatch):
        for given in ("", "relative/folder"):
            monkeypatch.setenv("XDG_CONFIG_HOME", given)
            Signer.from_user_config()
        assert (tmp_path / "home" / ".config" / "penstock" / "pickle.key").is_file()

    @pytest.mark.skipif(os.name != "posix", reason="modes of files")
    def test_a_key_that_others_can_read_is_not_used(self, tmp_path):
        Signer.from_user_config()
        path = tmp_path / "config" / "penstock" / "pickle.key"
        path.chmod(0o640)
        with pytest.raises(StoreError, match="chmod 600"):
            Signer.from_user_config()

    def test_an_empty_one_neither(self, tmp_path):
        Signer.from_user_config()
        path = tmp_path / "config" / "penstock" / "pickle.key"
        path.write_bytes(b"")
        with pytest.raises(StoreError, match="holds no key"):
            Signer.from_user_config()

    @pytest.mark.skipif(os.name != "posix", reason="links")
    def test_a_link_is_not_followed(self, tmp_path):
        folder = tmp_path / "config" / "penstock"
        folder.mkdir(parents=True)
        (tmp_path / "elsewhere").write_bytes(KEY)
        (tmp_path / "elsewhere").chmod(0o600)
        (folder / "pickle.key").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's
            Signer.from_user_config()

    def test_processes_that_begin_together_have_one_key(self):
        with get_context("spawn").Pool(2) as pool:
            found = pool.map(_signed, range(8))
        assert len(set(found)) == 1

    @pytest.mark.parametrize("key", [b"", b"short", "text" * 10, None])
    def test_a_key_has_16_bytes(self, key):
        with pytest.raises(ValueError, match="at least 16 bytes"):
            Signer(key)

    def test_it_shows_nothing_and_does_not_travel(self):
        assert "k" * 8 not in repr(Signer(KEY))
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(Signer(KEY))


def _signed(_):
    return Signer.from_user_config().sign(b"x")
