"""Secrets: shown nowhere, stored nowhere, and asked for again."""

import copy
import dataclasses
import gc
import json
import pickle

import pytest

from penstock.core.codec import Codec, Signer, preview, secrets_in
from penstock.core.errors import CannotDecode, NotStorable
from penstock.core.secrets import MISSING_SECRET, Secret, masked, travelling

WORD = "hunter2-and-more"


@dataclasses.dataclass
class Login:
    user: str
    password: Secret[str]


class TestSecret:
    def test_it_shows_a_mask(self):
        secret = Secret(WORD)
        assert secret.reveal() == WORD
        for text in (
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!r:>40}",
            f"{[secret]}",
            f"{secret}",
        ):
            assert WORD not in text
            assert "***" in text

    def test_it_is_equal_to_itself_only(self):
        one = Secret(WORD)
        assert one == one
        assert one != Secret(WORD)
        assert hash(one) == hash(one)

    def test_it_cannot_be_pickled_but_on_the_way_to_our_own_processes(self):
        with pytest.raises(TypeError, match="a Secret is not pickled"):
            pickle.dumps([Secret(WORD)])
        with travelling():
            body = pickle.dumps(Secret(WORD))
        assert pickle.loads(body).reveal() == WORD
        with pytest.raises(TypeError):
            pickle.dumps(Secret(WORD))

    def test_copies_are_the_same(self):
        one = Secret([1])
        assert copy.copy(one) is one
        assert copy.deepcopy({"a": one})["a"] is one

    def test_it_has_no_dict_and_no_secret_within(self):
        assert not hasattr(Secret(1), "__dict__")
        with pytest.raises(TypeError, match="already"):
            Secret(Secret(1))


class TestMasked:
    def test_texts_lose_every_secret_that_is_alive(self):
        line = "first\nsecond"
        held = [Secret(WORD), Secret(b"bytes-" + WORD.encode()), Secret(line), Secret(12345678)]
        assert masked(f"ValueError: {WORD} and bytes-{WORD}, {line!r}") == "ValueError: *** and ***, '***'"
        assert masked("nothing in here") == "nothing in here"
        del held
        gc.collect()
        assert masked(WORD) == WORD

    def test_short_ones_are_left_alone(self):
        held = Secret("abc")
        assert masked("abcdef") == "abcdef"
        del held


class TestStored:
    @pytest.mark.parametrize(
        ("around", "path"),
        [
            (lambda s: s, "$"),
            (lambda s: {"a": [1, s]}, "$.a[1]"),
            (lambda s: (s,), "$[0]"),
            (lambda s: Login("me", s), "$.password"),
            (lambda s: {s: 1}, "${key <Secret>}"),
        ],
    )
    def test_an_output_with_one_is_refused(self, around, path):
        with pytest.raises(NotStorable, match="is a Secret, which is never stored") as caught:
            Codec(types=[Login]).encode(around(Secret(WORD)))
        assert caught.value.path == path
        assert WORD not in str(caught.value)

    def test_inputs_keep_a_mark_in_its_place(self):
        one = Codec(types=[Login])
        value = {
            "key": Secret(WORD),
            "plain": 1,
            "logins": [Login("me", Secret(WORD))],
            "by": {1: Secret(2), "x": {3}},
        }
        text = one.encode(value, secrets="masked")
        assert WORD not in text
        data = json.loads(text)
        assert secrets_in(data) == ["$.by[1]", "$.key", "$.logins[0].password"]
        back = one.decode(data)
        assert back["key"] is back["by"][1] is back["logins"][0].password is MISSING_SECRET
        assert back["plain"] == 1
        assert "Secret('***')" in preview(data, 300)

    def test_the_mark_must_be_given_again(self):
        with pytest.raises(CannotDecode, match="must be given again when the run is resumed"):
            MISSING_SECRET.reveal()
        assert copy.deepcopy(MISSING_SECRET) is MISSING_SECRET
        assert pickle.loads(pickle.dumps(MISSING_SECRET)) is MISSING_SECRET
        with pytest.raises(NotStorable):
            Codec().encode(MISSING_SECRET)

    def test_a_dict_that_looks_like_the_mark_is_none(self):
        data = json.loads(Codec().encode({"a": {"$secret": True}}))
        assert secrets_in(data) == []
        assert Codec().decode(data) == {"a": {"$secret": True}}

    def test_a_pickle_has_none_either(self):
        with pytest.warns(UserWarning, match="pickled"):
            one = Codec(pickle=Signer(b"k" * 32))

        with pytest.raises(NotStorable, match="a Secret is not pickled") as caught:
            one.encode([Login("me", Secret(WORD))])
        assert caught.value.path == "$[0]"
