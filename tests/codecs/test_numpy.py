"""Arrays and scalars of numpy: the same bytes, dtype and order, and nothing that holds objects."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from hypothesis.extra import numpy as arrays  # noqa: E402

from penstock.codecs import find  # noqa: E402
from penstock.core.codec import Codec  # noqa: E402
from penstock.core.errors import CannotDecode, NotStorable  # noqa: E402
from tests.core.codec_kit import Shelf  # noqa: E402


def there_and_back(value):
    one = Codec(Shelf(), sockets=find)
    text = one.encode(value)
    back = one.decode(json.loads(text))
    assert one.encode(back) == text
    return back


def check(value):
    back = there_and_back(value)
    assert type(back) is np.ndarray
    assert back.dtype == value.dtype
    assert back.dtype.type is value.dtype.type
    assert back.shape == value.shape
    assert back.flags.writeable == value.flags.writeable
    if value.flags.c_contiguous or value.flags.f_contiguous:
        assert back.flags.f_contiguous == value.flags.f_contiguous
    if value.dtype.fields is None and value.dtype.char not in "gG":
        assert back.tobytes() == value.tobytes()
    else:
        assert repr(back.tolist()) == repr(value.tolist())
    return back


STRUCT = np.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", [("d", "U3")])], align=True)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(5),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        np.array(3),
        np.zeros((0, 3)),
        np.array(["a", "bcd"]),
        np.array([b"a", b""]),
        np.array([1, 2], dtype=">i4"),
        np.array(["2024-01-01", "NaT"], dtype="M8[ns]"),
        np.array([1], dtype="m8[3h]"),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", ">f8")]),
        np.zeros(2, STRUCT),
        np.zeros(2, dtype=[(("title", "n"), "i4")]),
        np.arange(10)[::2],
        np.broadcast_to(np.arange(3), (4, 3)),
        np.array([True]),
        np.array([1 + 2j]),
        np.array([1], dtype="q"),
        np.array([1 / 3], dtype="g"),
        np.zeros(3, "V5"),
        np.array([1.5], dtype="f2"),
        np.array([np.nan, -np.nan, np.inf, -0.0]),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)
def test_d06_arrays(value):
    check(value)
    assert check(value.copy()).flags.owndata or value.size == 0 or value.ndim > 0


@given(
    arrays.arrays(
        arrays.scalar_dtypes()
        | arrays.unicode_string_dtypes()
        | arrays.byte_string_dtypes()
        | arrays.array_dtypes(),
        arrays.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
@settings(max_examples=200)
def test_d06_any_array(value):
    check(value)


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.int8(3),
        np.bool_(True),
        np.str_("abc"),
        np.str_(""),
        np.bytes_(b"x"),
        np.datetime64("2024-01-01"),
        np.datetime64("NaT"),
        np.timedelta64(3, "h"),
        np.longlong(4),
        np.longdouble(1) / 3,
        np.complex64(1j),
        np.void(b"abc"),
        np.zeros(1, STRUCT)[0],
    ],
    ids=lambda value: f"{type(value).__name__}-{value}",
)
def test_d06_scalars(value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back == value or back != back


def test_d06_they_are_no_numbers_of_python():
    assert [type(item) for item in there_and_back([np.float64(1), 1.0, np.True_, True])] == [
        *(np.float64, float, np.bool_, bool),
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([object()]), "holds objects; return a list"),
        (np.array(["a", None], dtype=object), "holds objects"),
        (np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")]), "holds objects"),
        (np.ma.array([1]), "MaskedArray"),
        (np.random.default_rng(), "Generator"),
        (np.dtype("i4"), "DType"),
        (np.bytes_(b"a\0"), "would come back as"),
        (np.rec.array([(1,)], dtype=[("a", "i4")]), "recarray"),
        (type("Mine", (np.ndarray,), {})((1,)), "would come back as a numpy array"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_d01_the_rest_is_refused_with_its_place(value, said):
    with pytest.raises(NotStorable, match=said) as caught:
        Codec(sockets=find).encode({"a": [value]})
    assert caught.value.path == "$.a[0]"


def test_d03_a_large_one_goes_where_large_values_are_kept_without_a_text_in_between():
    shelf = Shelf()
    one = Codec(shelf, sockets=find)
    value = np.arange(1_000_000)
    text = one.encode({"a": value})
    assert len(text) < 300
    assert list(shelf.kept.values()) == [value.tobytes()]
    back = one.decode(json.loads(text))["a"]
    back[0] = 7  # it can be written to, like what the step returned
    assert (back[1:] == value[1:]).all()
    with pytest.raises(NotStorable, match="at most 1,000 bytes"):
        Codec(shelf, sockets=find, most=1000).encode(value)


@pytest.mark.parametrize(
    "form",
    [
        {"$numpy.array": "O", "shape": [1], "data": "AAAAAAAAAAA="},
        {"$numpy.array": [["a", "O"]], "shape": [1], "data": "AAAAAAAAAAA="},
        {"$numpy.array": "<i8", "shape": [2**40], "data": ""},
        {"$numpy.array": "<i8", "shape": [-1], "data": ""},
        {"$numpy.array": "<i8", "shape": "x", "data": ""},
        {"$numpy.array": "<i8", "shape": [1], "data": "AA=="},
        {"$numpy.array": "V99999999999", "shape": [1], "data": ""},
        {"$numpy.array": "os.system", "shape": [1], "data": ""},
        {"$numpy.array": [["a"]], "shape": [1], "data": ""},
        {"$numpy.array": None, "shape": [1], "data": ""},
        {"$numpy.array": "i4,O", "shape": [1], "data": ""},
        {"$numpy.scalar": "<i8", "data": ""},
        {"$numpy.other": "<i8", "data": "AAAAAAAAAAA="},
        {"$numpy": 1},
    ],
    ids=str,
)
def test_forms_that_make_no_sense(form):
    with pytest.raises(CannotDecode):
        Codec(sockets=find).decode([form])


@given(st.text(max_size=12) | st.lists(st.lists(st.text(max_size=4), max_size=3), max_size=3))
def test_any_dtype_in_a_text_is_an_array_or_our_error(dtype):
    try:
        Codec(sockets=find).decode({"$numpy.array": dtype, "shape": [0], "data": ""})
    except CannotDecode:
        pass
