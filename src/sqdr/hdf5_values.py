"""The values of an HDF5 dataset: plain numbers and short texts, stored in one piece. All else is refused by name.

Source: HDF5 File Format Specification 3.0, sections IV.A.2.b (dataspace), .d (datatype), .i (layout), III.E (heap).
"""

from dataclasses import dataclass

import numpy as np

from sqdr.hdf5_bytes import Block, Budget

__all__ = ["NumberType", "TextType", "read_shape", "read_texts", "read_type", "stored_bytes"]

CLASS_NAMES = ("integer", "float", "time", "string", "bitfield", "opaque", "compound", "reference", "enum") + (
    "variable-length",
    "array",
    "complex",
)
INTEGER, FLOAT, STRING, ENUM, VARIABLE_LENGTH = 0, 1, 3, 8, 9
COMPACT, CONTIGUOUS = 0, 1
# IEEE 754 by size in bytes: exponent at bit, exponent bits, mantissa at bit, mantissa bits, bias
IEEE = {2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023)}
MAX_AXES = 8
# The texts of a network are the names of blocks and of neurons.
MAX_TEXT_BYTES = 256
# Length, address of the collection and number within it (section IV.B).
REFERENCE_BYTES = 16
UNDEFINED = 2**64 - 1


@dataclass(frozen=True)
class NumberType:
    """Integers, floats, or truth values."""

    dtype: np.dtype[np.generic]
    is_bool: bool = False

    @property
    def n_bytes(self) -> int:
        """Of one value in the file."""
        return self.dtype.itemsize


@dataclass(frozen=True)
class TextType:
    """Texts of ``n_bytes`` each; where ``is_elsewhere``, references into a heap of texts of any length."""

    n_bytes: int
    is_elsewhere: bool = False


def read_shape(message: Block) -> tuple[int, ...]:
    """Return the shape in a dataspace message; () for a single value.

    Raises:
        ValueError: no values at all, or too many axes.
    """
    version, n_axes, _, kind = message.unpack("BBBB")
    if version not in (1, 2) or (version == 2 and kind not in (0, 1)):
        raise ValueError("holds no values")
    if n_axes > MAX_AXES:
        raise ValueError(f"has {n_axes} axes")
    return message.unpack(f"{n_axes}Q", 8 if version == 1 else 4)


def read_type(message: Block) -> NumberType | TextType:
    """Return the type in a datatype message.

    Raises:
        ValueError: one that no network uses.
    """
    first, bits, n_bytes = message.unpack("BBxxI")
    kind = first & 15
    if kind in (INTEGER, FLOAT):
        return NumberType(_number(message, kind, bits, n_bytes))
    if kind == STRING and 1 <= n_bytes <= MAX_TEXT_BYTES:
        return TextType(n_bytes)
    if kind == VARIABLE_LENGTH and bits & 15 == 1 and n_bytes == REFERENCE_BYTES:
        return TextType(n_bytes, is_elsewhere=True)
    if kind == ENUM and n_bytes == 1 and _is_truth(message):
        return NumberType(np.dtype(np.uint8), is_bool=True)
    name = CLASS_NAMES[kind] if kind < len(CLASS_NAMES) else f"class {kind}"
    raise ValueError(f"is of type {name} of {n_bytes} bytes; use numbers and short texts")


def _number(message: Block, kind: int, bits: int, n_bytes: int) -> np.dtype[np.generic]:
    order = ">" if bits & 1 else "<"
    first_bit, n_bits = message.unpack("HH", 8)
    if (first_bit, n_bits) == (0, 8 * n_bytes):
        if kind == INTEGER and n_bytes in (1, 2, 4, 8):
            return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{n_bytes}")
        if kind == FLOAT and not bits & 64 and message.unpack("BBBBI", 12) == IEEE.get(n_bytes):
            return np.dtype(f"{order}f{n_bytes}")
    raise ValueError(f"holds numbers of {n_bits} bits in {n_bytes} bytes; use whole integers or IEEE floats")


def _is_truth(message: Block) -> bool:
    """Whether an enumeration is h5py's bool: FALSE = 0 and TRUE = 1 in one byte."""
    version, n_members = message.unpack("BH")
    names = b"FALSE\0TRUE\0" if version >> 4 >= 3 else b"FALSE\0\0\0TRUE\0\0\0\0"
    # the base type takes 12 bytes, its own first byte says integer
    return n_members == 2 and message.unpack("B", 8)[0] & 15 == INTEGER and message.is_at(20, names + b"\0\1")


def stored_bytes(layout: Block, file: Block, n_bytes: int) -> Block:
    """Return the ``n_bytes`` that a layout message points to.

    Raises:
        ValueError: in chunks, not written at all, of another size, or beyond the end of the file.
    """
    version, kind = layout.unpack("BB")
    if version not in (3, 4) or kind not in (COMPACT, CONTIGUOUS):
        raise ValueError("is in chunks, compressed or virtual; store it plainly (h5repack -l CONTI -f NONE OLD NEW)")
    if n_bytes == 0:
        return file.slice(0, 0)
    if kind == COMPACT:
        block = layout.slice(4, *layout.unpack("H", 2))
    else:
        address, size = layout.unpack("QQ", 2)
        if address == UNDEFINED:
            raise ValueError("was declared but never written")
        block = file.slice(address, size)
    if len(block) != n_bytes:
        raise ValueError(f"declares {n_bytes} bytes but stores {len(block)}")
    return block


def read_texts(kind: TextType, stored: Block, file: Block, budget: Budget) -> list[bytes]:
    """Return the texts in ``stored``, in their order.

    Raises:
        ValueError: one is too long, or does not exist.
    """
    pieces = [stored.slice(start, kind.n_bytes) for start in range(0, len(stored), kind.n_bytes)]
    if kind.is_elsewhere:
        return [_heap_text(file, budget, *piece.unpack("IQI")) for piece in pieces]
    return [piece.memory.tobytes().rstrip(b"\0") for piece in pieces]


def _heap_text(file: Block, budget: Budget, n_bytes: int, address: int, wanted: int) -> bytes:
    if n_bytes > MAX_TEXT_BYTES:
        raise ValueError(f"holds a text of {n_bytes} bytes; the longest is {MAX_TEXT_BYTES}")
    file.expect(b"GCOL", address)
    collection = file.slice(address, *file.unpack("Q", address + 8))
    offset = 16
    while offset < len(collection):
        budget.take_part()
        index, length = collection.unpack("H6xQ", offset)
        if index == 0:  # the free space that ends a collection
            break
        if index == wanted:
            return collection.slice(offset + 16, length).slice(0, n_bytes).memory.tobytes()
        offset += 16 + length + -length % 8
    raise ValueError("refers to a text that does not exist")
