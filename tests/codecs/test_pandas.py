"""Frames, series and indexes of pandas: exactly as they were, or refused."""

import datetime as dt
import json

import pytest

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

from penstock.codecs import find  # noqa: E402
from penstock.core.codec import Codec  # noqa: E402
from penstock.core.errors import CannotDecode, NotStorable  # noqa: E402
from tests.core.codec_kit import Shelf  # noqa: E402


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
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, float("nan")]}),
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame({"a": [1]}, index=["z"]),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
        pd.DataFrame({("a", 1): [1], ("b", 2): [2]}),
        pd.DataFrame({"v": [1, 2, 3]}, index=pd.date_range("2024", periods=3, freq="D")),
        pd.DataFrame({"a": range(5)}).iloc[1:4],
        pd.DataFrame({"a": np.zeros(3, dtype="f4")}),
        pd.DataFrame({"big": range(100_000)}),
    ],
    ids=lambda frame: str(list(frame.columns)),
)
def test_d06_frames(value):
    back = there_and_back(value)
    pd.testing.assert_frame_equal(back, value, check_exact=True)
    assert type(back.index) is type(value.index)
    if back.size:
        back.iloc[0, 0] = back.iloc[0, 0]  # it can be written to


@pytest.mark.parametrize(
    "value",
    [
        pd.Series([1, 2], name="n"),
        pd.Series([1], name=("a", 1)),
        pd.Series(["a", 1, None, (1, 2), [3], dt.date(2024, 1, 1)], dtype=object),
        pd.Series([pd.Timestamp("2024"), None, pd.NaT, pd.NA], dtype=object),
        pd.Series(pd.Categorical(["a", "b", None], categories=["b", "a"], ordered=True)),
        pd.Series(pd.array([1, None], dtype="Int64")),
        pd.Series(pd.array([True, None], dtype="boolean")),
        pd.Series(pd.array([1.5, None], dtype="Float32")),
        pd.Series(["a", None], dtype="string[python]"),
        pd.Series(pd.date_range("2024", periods=3, tz="Europe/Berlin")),
        pd.Series(pd.period_range("2024-01", periods=3, freq="M")),
        pd.Series([], dtype=float),
        pd.Series([1, 2]).set_flags(allows_duplicate_labels=False),
    ],
    ids=lambda series: f"{series.dtype}-{len(series)}",
)
def test_d06_series(value):
    back = there_and_back(value)
    pd.testing.assert_series_equal(back, value, check_exact=True, check_flags=True)
    for one, other in zip(back, value, strict=True):
        assert type(one) is type(other)


@pytest.mark.parametrize(
    "value",
    [
        pd.MultiIndex.from_product([[1, 2], ["a"]], names=["x", "y"]),
        pd.RangeIndex(0, 10, 3, name="r"),
        pd.Index(["a", "b"]),
        pd.Index([1, "a"]),
        pd.period_range("2024-01", periods=3, freq="M"),
        pd.timedelta_range("1h", periods=2),
        pd.date_range("2024", periods=3, freq="W-MON", tz="UTC"),
        pd.CategoricalIndex(["a"]),
    ],
    ids=lambda index: f"{type(index).__name__}-{len(index)}",
)
def test_d06_indexes(value):
    back = there_and_back(value)
    pd.testing.assert_index_equal(back, value, exact=True)
    assert getattr(back, "freq", None) == getattr(value, "freq", None)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("2024-01-01").as_unit("ns"),
        pd.Timedelta("1h"),
        pd.Period("2024-01"),
        pd.NaT,
        pd.NA,
    ],
    ids=str,
)
def test_d06_scalars(value):
    back = there_and_back(value)
    assert back is value or back == value
    assert getattr(back, "unit", None) == getattr(value, "unit", None)


def test_d06_attributes():
    value = pd.DataFrame({"a": [1]})
    value.attrs["source"] = (1, 2)
    assert there_and_back(value).attrs == {"source": (1, 2)}


Mine = type("Mine", (pd.DataFrame,), {})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (pd.Series(pd.arrays.SparseArray([0, 1])), "dtype Sparse"),
        (pd.interval_range(0, 3), "IntervalIndex"),
        (Mine({"a": [1]}), "Mine, which is not stored"),
        (pd.Series([1]).groupby([1]), "GroupBy"),
        (pd.Series([object()]), "an object, which no codec knows"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_d01_the_rest_is_refused_with_its_place(value, said):
    with pytest.raises(NotStorable, match=said) as caught:
        Codec(sockets=find).encode({"df": value})
    assert caught.value.path.startswith("$.df")


@pytest.mark.parametrize(
    "form",
    [
        {"$pandas.frame": 1},
        {"$pandas.frame": {}},
        {"$pandas.eval": {"x": 1}},
        {"$pandas.timestamp": {"value": "x", "unit": "y", "tz": None}},
        {"$pandas.index": {"range": [1, 2, 0], "name": None}},
        {"$pandas.series": {"data": {"arrow": 1}, "index": {}, "name": None}},
    ],
    ids=str,
)
def test_forms_that_make_no_sense(form):
    with pytest.raises(CannotDecode):
        Codec(sockets=find).decode(form)
