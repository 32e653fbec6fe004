"""A form with one file, as its bytes come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clap_export.serve.limits import DOCUMENT
from clap_export.serve.problems import Problem

FILE = "file"
MOST_FIELDS = 100
MOST_HEADER = 8192  # bytes of a part's header; older parsers have no bound of their own


class Form:
    """Reads ``multipart/form-data``.

    Args:
        content_type: of the request, with the boundary.
        sink: takes the bytes of the file.

    Attributes:
        fields: name and text of each field, in order.
        has_file: whether the file has come, or begun to.

    Raises:
        Problem: there is no usable boundary.
    """

    def __init__(self, content_type: str, sink: Callable[[bytes], None]) -> None:
        self.fields: list[tuple[str, str]] = []
        self.has_file = False
        self._sink, self._ended, self._size = sink, False, 0
        self._header, self._value = bytearray(), bytearray()
        self._name: str | None = None
        self._text = bytearray()
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        callbacks = {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end,
            "on_header_field": self._field, "on_header_value": self._more,
            "on_header_end": self._header_end, "on_headers_finished": self._headers_end,
            "on_end": self._finished,
        }  # fmt: skip
        try:
            if not boundary:
                raise FormParserError("its Content-Type names no boundary")
            self._parser = MultipartParser(boundary, cast(Any, callbacks))
        except FormParserError as error:
            raise _broken(error) from error

    def write(self, piece: bytes) -> None:
        """Read more bytes.

        Raises:
            Problem: it is no form, or has another shape.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _broken(error) from error

    def close(self) -> None:
        """The body is over.

        Raises:
            Problem: the form is not.
        """
        if not self._ended:
            raise _broken("it ends before its last boundary")

    def _begin(self) -> None:
        self._name = None
        self._text.clear()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._add(self._header, data[start:end])

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._add(self._value, data[start:end])

    def _add(self, header: bytearray, data: bytes) -> None:
        if len(header) + len(data) > MOST_HEADER:
            raise FormParserError(f"a header of a part has more than {MOST_HEADER} bytes")
        header += data

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        if not self._name:
            raise FormParserError("a part of it has no name")
        if self._name == FILE:
            if self.has_file:
                raise FormParserError("it has several parts 'file', and one recording is taken")
            self.has_file = True
        elif len(self.fields) >= MOST_FIELDS:
            raise FormParserError(f"it has more than {MOST_FIELDS} fields")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._sink(data[start:end])
            return
        self._size += end - start
        if self._size > DOCUMENT:
            raise FormParserError(f"its fields have more than {DOCUMENT} bytes")
        self._text += data[start:end]

    def _end(self) -> None:
        if self._name is not None and self._name != FILE:
            try:
                self.fields.append((self._name, self._text.decode("utf-8")))
            except UnicodeDecodeError as error:
                raise FormParserError("a field of it is not UTF-8") from error

    def _finished(self) -> None:
        self._ended = True


def _broken(reason: object) -> Problem:
    return Problem(
        400, "form", f"the form cannot be read ({reason}): send multipart/form-data with a part "
        "'file', or the recording alone as the body.",
    )  # fmt: skip
