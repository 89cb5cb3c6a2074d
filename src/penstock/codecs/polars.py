"""Frames and series of polars, in the file format of Arrow."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from penstock.core.codec_read import Reader
from penstock.core.codec_write import Form, Refused, Writer

_NAME = "x"  # a series may have a name that is empty


class _Polars:
    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        kind = type(value)
        if kind is pl.DataFrame:
            return {"$polars.frame": writer.raw(_written(value))}
        if kind is pl.Series:
            frame = value.alias(_NAME).to_frame()
            return {"$polars.series": writer.raw(_written(frame)), "name": writer.write(value.name)}
        way_out = "return its .collect()" if kind is pl.LazyFrame else "return a polars DataFrame or Series"
        raise Refused(f"is a polars {kind.__name__}, which is not stored", way_out)

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        word = next(iter(data))
        frame = pl.read_ipc(io.BytesIO(reader.raw(data[word])))
        if word == "$polars.frame":
            return frame
        if word != "$polars.series":
            raise ValueError("no form of polars")
        name = reader.read(data["name"])
        if type(name) is not str:
            raise ValueError("a name is missing")
        return frame.to_series(0).alias(name)


socket = _Polars()


def _written(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    try:
        frame.write_ipc(out)
        back = pl.read_ipc_schema(io.BytesIO(out.getbuffer()))
    except Exception as error:
        raise Refused(f"is a frame that polars cannot write: {error}") from error
    if list(back.items()) != list(frame.schema.items()):
        raise Refused(f"is a frame of {frame.schema}, which would come back as {back}")
    return out.getvalue()
