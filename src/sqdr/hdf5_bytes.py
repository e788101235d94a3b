"""Bytes of an untrusted binary file: every read is checked against the end, every loop against a budget."""

import struct
from functools import lru_cache
from typing import Any

__all__ = ["Block", "Budget"]

# A layer has about 90 parts, and no more than 1,024 layers are read; this many take two seconds.
MAX_PARTS = 100_000
MAX_NAME_BYTES = 256


class Block:
    """A run of bytes; numbers are little-endian."""

    def __init__(self, data: memoryview) -> None:
        self.memory = data

    def __len__(self) -> int:
        return len(self.memory)

    def slice(self, offset: int, n_bytes: int) -> "Block":
        """Return ``n_bytes`` from ``offset`` on, without a copy.

        Raises:
            ValueError: they do not all exist.
        """
        if offset < 0 or n_bytes < 0 or offset + n_bytes > len(self.memory):
            raise ValueError(f"{n_bytes} bytes at {offset} lie beyond the end")
        return Block(self.memory[offset : offset + n_bytes])

    def unpack(self, fields: str, offset: int = 0) -> tuple[Any, ...]:
        """Return the fields, given in the letters of ``struct``, at ``offset``."""
        form = _struct(fields)
        return form.unpack(self.slice(offset, form.size).memory)

    def is_at(self, offset: int, expected: bytes) -> bool:
        """Whether the bytes at ``offset`` are the expected ones."""
        return self.memory[offset : offset + len(expected)] == expected

    def expect(self, signature: bytes, offset: int) -> None:
        """Refuse anything but ``signature`` at ``offset``.

        Raises:
            ValueError: other bytes, or none.
        """
        if offset < 0 or not self.is_at(offset, signature):
            raise ValueError(f"{signature[:4].decode('ascii')} is not where it should be")

    def name_at(self, offset: int) -> str:
        """Return the text from ``offset`` up to the next zero byte.

        Raises:
            ValueError: too long, not UTF-8, or it has no end.
        """
        start = self.slice(offset, min(MAX_NAME_BYTES, max(0, len(self) - offset)))
        name, end, _ = start.memory.tobytes().partition(b"\0")
        if not end:
            raise ValueError(f"a name is longer than {MAX_NAME_BYTES} bytes or has no end")
        return name.decode("utf-8")


class Budget:
    """What reading one file may cost at most: parts that share parts can be exponentially many."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._n_values = 0
        self._n_parts = 0

    def take_part(self) -> None:
        """Count one part of the file's structure.

        Raises:
            ValueError: there were too many.
        """
        self._n_parts += 1
        if self._n_parts > MAX_PARTS:
            raise ValueError(f"it has more than {MAX_PARTS:,} parts")

    def take_values(self, n_values: int) -> None:
        """Count values that are about to be read.

        Raises:
            ValueError: they are too many in all.
        """
        self._n_values += n_values
        if self._n_values > self._max_values:
            raise ValueError(f"exceeds {self._max_values:,} values in all, the most for a file of this size")


@lru_cache(maxsize=64)
def _struct(fields: str) -> struct.Struct:
    return struct.Struct("<" + fields)
