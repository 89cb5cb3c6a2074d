"""Tables and arrays of Arrow, in its own format."""

import base64
import json
import random

import pytest

pa = pytest.importorskip("pyarrow")

from penstock.codecs import find  # noqa: E402
from penstock.core.codec import Codec  # noqa: E402
from penstock.core.errors import CannotDecode, NotStorable  # noqa: E402
from tests.core.codec_kit import Shelf  # noqa: E402

TABLE = pa.table(
    {"a": [1, 2, None], "b": ["x", None, "z"], "c": pa.array(["p", "q", "p"]).dictionary_encode()},
    metadata={"k": "v"},
)


def there_and_back(value):
    one = Codec(Shelf(), sockets=find)
    text = one.encode(value)
    back = one.decode(json.loads(text))
    assert type(back) is type(value)
    assert one.encode(back) == text
    return back


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        pa.concat_tables([TABLE, TABLE]),
        TABLE.slice(1),
        TABLE.to_batches()[0],
        pa.table({}),
        pa.table({"x": pa.array([], pa.decimal128(5, 2))}),
        pa.array([1, None]),
        pa.array([1, 2, 3])[1:],
        pa.array([{"a": 1}, None]),
        pa.array([[1], []]),
        pa.nulls(3),
        pa.chunked_array([[1], [2, 3]]),
        pa.chunked_array([], type=pa.int8()),
        pa.table({"a": list(range(100_000))}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_d06_comes_back_equal_and_of_the_same_type(value):
    back = there_and_back(value)
    assert back.equals(value)
    if isinstance(value, pa.Table):
        assert back.schema.equals(value.schema, check_metadata=True)


@pytest.mark.parametrize("value", [pa.scalar(1), pa.int8(), pa.schema([("a", pa.int8())])], ids=str)
def test_d01_the_rest_is_refused(value):
    with pytest.raises(NotStorable, match="which is not stored; return a Table") as caught:
        Codec(sockets=find).encode({"a": value})
    assert caught.value.path == "$.a"


def test_changed_bytes_are_a_value_or_our_error():
    one = Codec(sockets=find)
    form = json.loads(one.encode(TABLE))
    body = base64.b64decode(form["$pyarrow.table"])
    chance = random.Random(5)
    failed = 0
    for _ in range(300):
        cut = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            cut[chance.randrange(len(cut))] = chance.randrange(256)
        cut = cut[: chance.choice([len(cut), chance.randrange(len(cut))])]
        try:
            one.decode({"$pyarrow.table": base64.b64encode(cut).decode()})
        except CannotDecode:
            failed += 1
    assert failed > 100
    for data in ({"$pyarrow.other": form["$pyarrow.table"]}, {"$pyarrow.array": form["$pyarrow.table"]}):
        with pytest.raises(CannotDecode):
            one.decode(data)
