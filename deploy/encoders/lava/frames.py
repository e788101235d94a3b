"""The messages between the encoder and its worker: a JSON header and at most one raw array.

On the wire: 4 bytes header length, 8 bytes payload length (both big-endian), the header, the
payload. Nothing is ever pickled between the two processes.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROTOCOL", "Frame", "FrameDecoder", "FrameError", "to_error_frame"]

PROTOCOL = 3
"""Raised when a change makes an older worker unable to understand a newer encoder."""

_PREFIX = struct.Struct(">IQ")
_MAX_HEADER_BYTES = 1 << 20
_MAX_PAYLOAD_BYTES = 1 << 32
_DTYPES = ("uint8", "int64")
_MAX_MESSAGE_LENGTH = 2000


class FrameError(ValueError):
    """The bytes received are not a frame."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Args:
        header: JSON values by name; the names `shape` and `dtype` are taken by the array.
        array: uint8 or int64, any shape, or None.
    """

    header: dict[str, Any] = field(default_factory=dict)
    array: NDArray[Any] | None = None

    def encode(self) -> bytes:
        """Return the frame as bytes."""
        header = dict(self.header)
        payload = b""
        if self.array is not None:
            header["shape"] = list(self.array.shape)
            header["dtype"] = self.array.dtype.name
            payload = np.ascontiguousarray(self.array).tobytes()
        text = json.dumps(header).encode()
        return _PREFIX.pack(len(text), len(payload)) + text + payload


def to_error_frame(kind: str, message: str) -> Frame:
    """Return the frame that tells the encoder what went wrong.

    Args:
        kind: missing (Lava cannot be imported), bundle, config or crash.
        message: any text; it becomes one line.
    """
    return Frame({"error": kind, "message": " ".join(message.split())[:_MAX_MESSAGE_LENGTH]})


class FrameDecoder:
    """Turns bytes, in pieces of any size, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Add ``data`` and return every frame that is now complete.

        Raises:
            FrameError: the bytes are not a frame.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        n_header, n_payload = _PREFIX.unpack_from(self._buffer)
        if n_header > _MAX_HEADER_BYTES or n_payload > _MAX_PAYLOAD_BYTES:
            raise FrameError(f"a frame cannot hold {n_header} + {n_payload} bytes")
        end = _PREFIX.size + n_header + n_payload
        if len(self._buffer) < end:
            return None
        text = bytes(self._buffer[_PREFIX.size : _PREFIX.size + n_header])
        payload = bytes(self._buffer[_PREFIX.size + n_header : end])
        del self._buffer[:end]
        return _to_frame(text, payload)


def _to_frame(text: bytes, payload: bytes) -> Frame:
    try:
        header = json.loads(text)
        shape, dtype = header.pop("shape", None), header.pop("dtype", None)
        if dtype is None:
            return Frame(header)
        if dtype not in _DTYPES:
            raise FrameError(f"an array of {dtype!r} is not allowed")
        return Frame(header, np.frombuffer(payload, dtype).reshape(shape))
    except (ValueError, AttributeError, TypeError) as error:
        raise FrameError(f"not a frame: {error}") from error
