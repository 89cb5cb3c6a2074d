"""Models of pydantic that the application has made known: field by field, and never through their validators.

Neither writing nor reading runs code of the model: not ``__init__``, validators, serializers or
``model_post_init``. What the fields held is what they hold again.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import BaseModel

from penstock.core.codec_read import Reader
from penstock.core.codec_types import check_fields
from penstock.core.codec_write import Form, Refused, Writer

_WORD = "$pydantic"


class _Pydantic:
    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        cls = type(value)
        if not issubclass(cls, BaseModel):
            raise Refused(f"is a {cls.__module__}.{cls.__qualname__} of pydantic, which is not stored")
        name = writer.tag(cls)
        known = cls.__pydantic_fields__
        held = object.__getattribute__(value, "__dict__")
        fields = {}
        for field, item in held.items():
            if field in known:
                fields[field] = item
            elif not isinstance(getattr(cls, field, None), functools.cached_property):
                raise Refused(f"has an attribute {field!r} that is none of its fields")
        for field in known:
            if field not in fields:
                raise Refused(f"has no value for its field {field!r}")
        form = {_WORD: name, "fields": writer.fields(value, fields, depth)}
        if value.__pydantic_fields_set__ != fields.keys():
            form["set"] = sorted(value.__pydantic_fields_set__)
        if value.__pydantic_extra__ is not None:
            form["extra"] = writer.fields(value, value.__pydantic_extra__, depth)
        if value.__pydantic_private__ is not None:
            form["private"] = writer.fields(value, value.__pydantic_private__, depth)
        return form

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        cls: Any = reader.cls(data[_WORD])
        if not issubclass(cls, BaseModel):
            raise ValueError(f"{cls.__qualname__} is no model of pydantic")
        fields = reader.fields(data["fields"], depth)
        defaults = {
            name: field.get_default(call_default_factory=True, validated_data=dict(fields))
            for name, field in cls.__pydantic_fields__.items()
            if name not in fields and not field.is_required()
        }
        check_fields(cls.__qualname__, fields, cls.__pydantic_fields__, defaults)
        given = data.get("set")
        extra, private = (
            None if data.get(part) is None else reader.fields(data[part], depth)
            for part in ("extra", "private")
        )
        held = {name: fields[name] if name in fields else defaults[name] for name in cls.__pydantic_fields__}
        made = object.__new__(cls)
        put = object.__setattr__
        put(made, "__dict__", held)
        put(made, "__pydantic_fields_set__", set(fields) if given is None else set(given))
        put(made, "__pydantic_extra__", extra)
        put(made, "__pydantic_private__", private)
        return made


socket = _Pydantic()
