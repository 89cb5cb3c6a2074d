"""Frames, series, indexes and scalars of pandas, if they come back exactly: that is tried at once.

A value is taken apart into plain data and arrays of numpy, which the codec writes like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from penstock.core.codec_read import Reader
from penstock.core.codec_write import Form, Refused, Writer

Parts = dict[str, Any]


class _Pandas:
    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        cls = type(value)
        word = _WORDS.get(cls)
        if word is None:
            raise Refused(
                f"is a {cls.__module__}.{cls.__qualname__}, which is not stored",
                "return a pandas DataFrame, Series or Index, or plain data",
            )
        try:
            parts = _apart(word, value)
            _compare(word, value, _together(word, parts))
        except Refused:
            raise
        except Exception as error:  # of a check, or of pandas, which was given what it does not take
            said = " ".join(str(error).split())
            raise Refused(
                f"is a pandas {cls.__name__} that would not come back as it is ({said[:200]})"
            ) from error
        return {f"$pandas.{word}": writer.write(parts, depth + 1)}

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        word = next(iter(data))
        parts = reader.fields(data[word], depth + 1)
        return _together(word.removeprefix("$pandas."), parts)


socket = _Pandas()


_INDEXES: tuple[Any, ...] = (
    *(pd.Index, pd.RangeIndex, pd.MultiIndex, pd.CategoricalIndex),
    *(pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex),
)
_WORDS: dict[type, str] = {
    pd.DataFrame: "frame",
    pd.Series: "series",
    pd.Timestamp: "timestamp",
    pd.Timedelta: "timedelta",
    pd.Period: "period",
    type(pd.NaT): "nat",
    type(pd.NA): "na",
    **dict.fromkeys(_INDEXES, "index"),
}


def _apart(word: str, value: Any) -> Parts:
    apart, _ = _KINDS[word]
    return apart(value)


def _together(word: str, parts: Parts) -> Any:
    _, together = _KINDS[word]
    return together(parts)


def _compare(word: str, value: Any, back: Any) -> None:
    """Raises something if they are not the same."""
    if word == "frame":
        pd.testing.assert_frame_equal(back, value, check_column_type="exact", check_exact=True)
    elif word == "series":
        pd.testing.assert_series_equal(back, value, check_index_type="exact", check_exact=True)
    elif word == "index":
        pd.testing.assert_index_equal(back, value, exact=True, check_exact=True)
        if getattr(back, "freq", None) != getattr(value, "freq", None):
            raise Refused(f"is an index with the frequency {value.freq}, which would be lost")
    elif value is not back and (value != back or type(value) is not type(back)):
        raise Refused(f"is {value!r}, which would come back as {back!r}")


# ----------------------------------------------------------------------------------------------------------
# Frames, series, indexes
# ----------------------------------------------------------------------------------------------------------


def _frame_apart(frame: Any) -> Parts:
    return {
        "columns": _index_apart(frame.columns),
        "index": _index_apart(frame.index),
        "data": [_array_apart(frame.iloc[:, i].array) for i in range(frame.shape[1])],
        "attrs": dict(frame.attrs),
        "duplicates": frame.flags.allows_duplicate_labels,
    }


def _frame(parts: Parts) -> Any:
    index = _index(parts["index"])
    arrays = map(_array, parts["data"])
    made = pd.DataFrame({i: _series_of(array, index) for i, array in enumerate(arrays)}, index=index)
    made.columns = _index(parts["columns"])
    return _labelled(made, parts)


def _series_apart(series: Any) -> Parts:
    return {
        "index": _index_apart(series.index),
        "data": _array_apart(series.array),
        "name": series.name,
        "attrs": dict(series.attrs),
        "duplicates": series.flags.allows_duplicate_labels,
    }


def _series(parts: Parts) -> Any:
    made = _series_of(_array(parts["data"]), _index(parts["index"]))
    made.name = parts["name"]
    return _labelled(made, parts)


def _series_of(array: Any, index: Any) -> Any:
    return pd.Series(array, index=index, dtype=array.dtype)


def _labelled(made: Any, parts: Parts) -> Any:
    made.attrs = parts["attrs"]
    if not parts["duplicates"]:
        made = made.set_flags(allows_duplicate_labels=False)
    return made


def _index_apart(index: Any) -> Parts:
    if type(index) is pd.RangeIndex:
        return {"range": [index.start, index.stop, index.step], "name": index.name}
    if type(index) is pd.MultiIndex:
        return {
            "levels": [_index_apart(level) for level in index.levels],
            "codes": [np.asarray(codes) for codes in index.codes],
            "names": list(index.names),
        }
    if type(index) not in _INDEXES:
        raise Refused(
            f"is of pandas with a {type(index).__name__}, which is not stored", "reset_index() first"
        )
    freq = getattr(index, "freqstr", None) if type(index) is not pd.PeriodIndex else None
    return {"data": _array_apart(index.array), "name": index.name, "freq": freq}


def _index(parts: Parts) -> Any:
    if "range" in parts:
        return pd.RangeIndex(*parts["range"], name=parts["name"])
    if "levels" in parts:
        levels = [_index(level) for level in parts["levels"]]
        return pd.MultiIndex(levels, parts["codes"], names=parts["names"])
    array = _array(parts["data"])
    made: Any = pd.Index(array, dtype=array.dtype, name=parts["name"])
    if parts["freq"] is not None:
        made.freq = to_offset(parts["freq"])
    return made


# ----------------------------------------------------------------------------------------------------------
# Columns
# ----------------------------------------------------------------------------------------------------------

_MASKED: dict[str, Any] = {
    "integer": pd.arrays.IntegerArray,
    "floating": pd.arrays.FloatingArray,
    "boolean": pd.arrays.BooleanArray,
}


def _array_apart(array: Any) -> Parts:
    if type(array) is pd.arrays.NumpyExtensionArray:
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        values = np.asarray(array)
        return {"objects": list(values)} if values.dtype == object else {"numpy": values}
    if isinstance(dtype, pd.DatetimeTZDtype):
        return {"instants": array.asi8, "unit": dtype.unit, "tz": dtype.tz}
    if isinstance(dtype, pd.CategoricalDtype):
        return {
            "codes": array.codes,
            "categories": _index_apart(array.categories),
            "ordered": bool(array.ordered),
        }
    if isinstance(dtype, pd.StringDtype):
        missing = array.isna()
        texts = [None if gone else text for text, gone in zip(array, missing, strict=True)]
        return {"texts": texts, "storage": dtype.storage, "nan": dtype.na_value is not pd.NA}
    if isinstance(dtype, pd.PeriodDtype):
        return {"ordinals": array.asi8, "freq": array.freqstr}
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return {"arrow": pa.chunked_array(array.__arrow_array__())}
    for name, kind in _MASKED.items():
        if type(array) is kind:
            mask = array.isna()
            values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
            return {"masked": name, "values": values, "mask": mask}
    raise Refused(f"is of pandas with the dtype {dtype}, which is not stored", "use another dtype")


def _array(parts: Parts) -> Any:
    if "numpy" in parts:
        return np.require(parts["numpy"], requirements="W")
    if "objects" in parts:
        made = np.empty(len(parts["objects"]), object)
        for i, item in enumerate(parts["objects"]):
            made[i] = item
        return made
    if "instants" in parts:
        utc = pd.DatetimeIndex(parts["instants"].view(f"M8[{parts['unit']}]")).tz_localize("UTC")
        return utc.tz_convert(parts["tz"]).array
    if "codes" in parts:
        dtype = pd.CategoricalDtype(_index(parts["categories"]), parts["ordered"])
        return pd.Categorical.from_codes(parts["codes"], dtype=dtype)
    if "texts" in parts:
        dtype = pd.StringDtype(parts["storage"], na_value=np.nan if parts["nan"] else pd.NA)
        return pd.array(parts["texts"], dtype=dtype)
    if "ordinals" in parts:
        return pd.PeriodIndex.from_ordinals(parts["ordinals"], freq=parts["freq"]).array
    if "arrow" in parts:
        return pd.array(parts["arrow"], dtype=pd.ArrowDtype(parts["arrow"].type))
    return _MASKED[parts["masked"]](parts["values"], parts["mask"])


# ----------------------------------------------------------------------------------------------------------
# Scalars
# ----------------------------------------------------------------------------------------------------------


def _timestamp(parts: Parts) -> Any:
    naive: Any = pd.Timestamp(np.datetime64(parts["value"], parts["unit"]))
    return naive if parts["tz"] is None else naive.tz_localize("UTC").tz_convert(parts["tz"])


_KINDS: dict[str, tuple[Callable[[Any], Parts], Callable[[Parts], Any]]] = {
    "frame": (_frame_apart, _frame),
    "series": (_series_apart, _series),
    "index": (_index_apart, _index),
    "timestamp": (
        lambda value: {"value": int(value.asm8.view("i8")), "unit": value.unit, "tz": value.tz},
        _timestamp,
    ),
    "timedelta": (
        lambda value: {"value": int(value.asm8.view("i8")), "unit": value.unit},
        lambda parts: pd.Timedelta(np.timedelta64(parts["value"], parts["unit"])),
    ),
    "period": (
        lambda value: {"ordinal": value.ordinal, "freq": value.freqstr},
        lambda parts: pd.Period(ordinal=parts["ordinal"], freq=parts["freq"]),
    ),
    "nat": (lambda value: {}, lambda parts: pd.NaT),
    "na": (lambda value: {}, lambda parts: pd.NA),
}
