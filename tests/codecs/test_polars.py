"""Frames and series of polars."""

import datetime as dt
import json

import pytest

pl = pytest.importorskip("polars")

from penstock.codecs import find  # noqa: E402
from penstock.core.codec import Codec  # noqa: E402
from penstock.core.errors import CannotDecode, NotStorable  # noqa: E402
from tests.core.codec_kit import Shelf  # noqa: E402


def there_and_back(value):
    one = Codec(Shelf(), sockets=find)
    text = one.encode(value)
    back = one.decode(json.loads(text))
    assert type(back) is type(value)
    return back


@pytest.mark.parametrize(
    "value",
    [
        pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"], "d": [dt.date(2024, 1, 1)] * 3}),
        pl.DataFrame(),
        pl.DataFrame({"s": [{"a": 1, "b": [1, 2]}]}),
        pl.DataFrame({"a": range(100_000)}),
    ],
    ids=lambda frame: str(frame.columns),
)
def test_d06_frames(value):
    back = there_and_back(value)
    assert back.schema == value.schema
    assert back.equals(value)


@pytest.mark.parametrize(
    "value",
    [
        pl.Series("n", [1.5, float("nan"), None]),
        pl.Series([[1], [2, 3]]),
        pl.Series("", ["a", "b"], dtype=pl.Categorical),
        pl.Series("\ud83d".encode("utf-8", "replace").decode(), ["a"], dtype=pl.Enum(["a", "b"])),
        pl.Series([dt.datetime(2024, 1, 1)]).dt.replace_time_zone("Europe/Berlin"),
        pl.Series([], dtype=pl.Decimal(10, 2)),
        pl.Series([None, None]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_d06_series(value):
    back = there_and_back(value)
    assert (back.name, back.dtype) == (value.name, value.dtype)
    assert back.equals(value, null_equal=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            pl.DataFrame({"a": [1]}).lazy(),
            r"a polars LazyFrame, which is not stored; return its \.collect\(\)",
        ),
        (pl.col("a"), "polars Expr"),
        (pl.Series([object()]), "polars cannot write"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_d01_the_rest_is_refused(value, said):
    with pytest.raises(NotStorable, match=said) as caught:
        Codec(sockets=find).encode({"a": value})
    assert caught.value.path == "$.a"


@pytest.mark.parametrize(
    "form", [{"$polars.frame": "AAAA"}, {"$polars.other": ""}, {"$polars.series": ""}], ids=str
)
def test_forms_that_make_no_sense(form):
    with pytest.raises(CannotDecode):
        Codec(sockets=find).decode(form)
