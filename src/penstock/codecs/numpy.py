"""Arrays and scalars of numpy, as their bytes: no pickle, and no dtype that holds objects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib import format as npy

from penstock.core.codec_read import Reader
from penstock.core.codec_write import Form, Refused, Writer

_KINDS = "biufcmMSUV"  # of dtype.kind: what lies in the array itself
_EXTENDED = 63  # bits of the fraction of a long double of 10 bytes, kept in 12 or 16


class _Numpy:
    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        cls = type(value)
        if cls is np.ndarray:
            return _array(writer, value)
        if issubclass(cls, np.generic):
            return _scalar(writer, value)
        if cls.__module__.partition(".")[0] == "numpy":
            raise Refused(f"is of the type numpy.{cls.__name__}", "return an array, or plain data")
        raise Refused(
            f"is a {cls.__module__}.{cls.__qualname__}, which would come back as a numpy array",
            "return numpy.asarray(...) of it",
        )

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        word = next(iter(data))
        dtype = _read_dtype(data[word])
        body = reader.raw(data["data"])
        if word == "$numpy.scalar":
            return _filled(body, dtype, ())[()]
        if word != "$numpy.array":
            raise ValueError("numpy has no such form")
        shape = data["shape"]
        if type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("the shape is missing")
        fortran = data.get("order") == "F"
        made = _filled(body, dtype, tuple(shape[::-1] if fortran else shape))
        made = made.T if fortran else made
        if data.get("readonly"):
            made.flags.writeable = False
        return made


socket = _Numpy()


def _array(writer: Writer, value: np.ndarray[Any, Any]) -> Form:
    dtype = _dtype(value.dtype)
    writer.room(value.nbytes)
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    form = {
        "$numpy.array": dtype,
        "shape": list(value.shape),
        "data": writer.raw(_clean(value).tobytes("F" if fortran else "C")),
    }
    if fortran:
        form["order"] = "F"
    if not value.flags.writeable:
        form["readonly"] = True
    return form


def _scalar(writer: Writer, value: np.generic) -> Form:
    array = _clean(np.array(value, dtype=value.dtype))
    form = {"$numpy.scalar": _dtype(array.dtype), "data": writer.raw(array.tobytes())}
    back = array[()]
    if type(back) is not type(value) or (value.dtype.kind in "SU" and back != value):
        raise Refused(f"is a numpy.{type(value).__name__} that would come back as {back!r}")
    return form


def _clean(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same without the bytes that mean nothing and may be anything: a text must always be the same."""
    if value.dtype.fields is not None:
        made = np.zeros(value.shape, value.dtype)
        made[...] = value
        return made
    if value.dtype.char in "gG" and value.size and np.finfo(np.longdouble).nmant == _EXTENDED:
        made = value.copy()
        made.reshape(-1).view(np.uint8).reshape(-1, np.longdouble().itemsize)[:, 10:] = 0
        return made.reshape(value.shape)
    return value


def _filled(body: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array of its own, which can be written to."""
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(body):
        raise ValueError(f"{needed:,} bytes are needed, and there are {len(body):,}")
    made = np.empty(shape, dtype)
    if body:
        made.reshape(-1).view(np.uint8)[:] = np.frombuffer(body, np.uint8)
    return made


# ----------------------------------------------------------------------------------------------------------
# Dtypes
# ----------------------------------------------------------------------------------------------------------


def _dtype(dtype: np.dtype[Any]) -> Form:
    """A dtype as data, if an equal one can be made of it."""
    if not _plain(dtype):
        raise Refused(
            f"is of numpy with dtype {dtype}, which holds objects",
            "return a list, or use another dtype",
        )
    form = _listed(npy.dtype_to_descr(dtype))
    if _read_dtype(form).type is not dtype.type and dtype.fields is None:  # of two that are equal, the other
        form = ("" if dtype.isnative else dtype.byteorder) + dtype.char
    back = _read_dtype(form)
    if back != dtype or back.type is not dtype.type:
        raise Refused(f"is of numpy with {dtype!r}, which would come back as {back!r}")
    return form


def _plain(dtype: np.dtype[Any]) -> bool:
    """Whether its values lie in the array itself."""
    if dtype.hasobject or dtype.kind not in _KINDS:
        return False
    if dtype.subdtype is not None:
        return _plain(dtype.subdtype[0])
    return dtype.fields is None or all(_plain(field[0]) for field in dtype.fields.values())


def _listed(descr: Any) -> Form:
    """A description of a dtype with lists in place of tuples."""
    return [_listed(part) for part in descr] if isinstance(descr, (list, tuple)) else descr


def _read_dtype(form: Any) -> np.dtype[Any]:
    dtype = npy.descr_to_dtype(_descr(form))
    if not _plain(dtype):
        raise ValueError("a dtype that holds objects")
    return dtype


def _descr(form: Any) -> Any:
    """The description that was written: a name, a type with a shape, or a list of fields."""
    if type(form) is str:
        if len(form) > 64 or "," in form:
            raise ValueError("no dtype")
        return form
    if type(form) is not list:
        raise ValueError("the dtype is missing")
    if len(form) == 2 and type(form[1]) is list and all(type(n) is int for n in form[1]):
        return _descr(form[0]), tuple(form[1])
    return [
        (tuple(name) if type(name) is list else name, _descr(inner), *map(tuple, shape))
        for name, inner, *shape in form
    ]
