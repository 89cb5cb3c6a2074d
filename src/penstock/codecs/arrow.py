"""Tables, record batches and arrays of Arrow, in its own stream format."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from penstock.core.codec_read import Reader
from penstock.core.codec_write import Form, Refused, Writer

_NAME = "x"


class _Arrow:
    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        kind = type(value)
        if kind is pa.Table:
            word, schema, batches = "$pyarrow.table", value.schema, value.to_batches()
        elif kind is pa.RecordBatch:
            word, schema, batches = "$pyarrow.batch", value.schema, [value]
        elif kind is pa.ChunkedArray:
            schema = pa.schema([pa.field(_NAME, value.type)])
            word = "$pyarrow.chunks"
            batches = [pa.record_batch([chunk], schema=schema) for chunk in value.chunks]
        elif isinstance(value, pa.Array):
            schema = pa.schema([pa.field(_NAME, value.type)])
            word, batches = "$pyarrow.array", [pa.record_batch([value], schema=schema)]
        else:
            raise Refused(
                f"is a pyarrow {kind.__name__}, which is not stored",
                "return a Table or an Array, or .as_py()",
            )
        try:
            return {word: writer.raw(_written(schema, batches))}
        except (pa.ArrowException, NotImplementedError) as error:
            raise Refused(
                f"is of pyarrow with the types {schema.types}, which it cannot write: {error}"
            ) from error

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        word = next(iter(data))
        with pa.ipc.open_stream(reader.raw(data[word])) as stream:
            schema, batches = stream.schema, list(stream)
        if word == "$pyarrow.batch":
            (made,) = batches
        elif word == "$pyarrow.array":
            (batch,) = batches
            (made,) = batch.columns
        elif word == "$pyarrow.chunks":
            made = pa.chunked_array([batch.column(0) for batch in batches], type=schema.field(0).type)
        elif word == "$pyarrow.table":
            made = pa.Table.from_batches(batches, schema=schema)
        else:
            raise ValueError("no form of pyarrow")
        made.validate(full=True)
        return made


socket = _Arrow()


def _written(schema: Any, batches: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    body = sink.getvalue()
    with pa.ipc.open_stream(body) as back:  # reads the schema only
        if not back.schema.equals(schema, check_metadata=True):
            raise Refused(f"is of pyarrow with the types {schema.types}, which would come back as others")
    return bytes(memoryview(body))
