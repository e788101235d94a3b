"""Read HDF5 in plain Python: groups and plain datasets, as h5py writes them by default.

libhdf5 trusts the files that it reads: of 2,400 copies of a network with a few changed bytes, four hung it
every time and one crashed a process that had read others before (HDF5 2.0.0 in h5py 3.16.0). This reader
checks every address and size before it uses it, never leaves the file, and ends after a bounded number of
steps; what it cannot read it refuses by name.

Source: HDF5 File Format Specification 3.0, by section at each function.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from sqdr.hdf5_bytes import Block, Budget
from sqdr.hdf5_values import UNDEFINED, TextType, read_shape, read_texts, read_type, stored_bytes

__all__ = ["Dataset", "Group", "open_hdf5"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
EIGHT_BYTES = (8, 8)  # of an address and of a length: what every 64-bit system writes
# Message types (section IV.A.2).
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
CONTINUATION, SYMBOL_TABLE = 0x10, 0x11
SHARED = 2
# Levels of a group's B-tree; a node holds dozens of children.
MAX_LEVELS = 8

Messages = dict[int, list[Block]]


class Dataset:
    """An array or texts; nothing is read before it is asked for."""

    def __init__(self, file: Block, budget: Budget, path: str, messages: Messages) -> None:
        self._file, self._budget, self.path, self._messages = file, budget, path, messages

    def read(self, max_values: int, cost: int = 1) -> NDArray[np.generic] | list[bytes]:
        """Return the numbers in the file's own type and shape, or the texts in their order.

        Args:
            max_values: checked before anything is read.
            cost: of one value in the file's budget.

        Raises:
            ValueError: too large, damaged, or of a kind that is not supported.
        """
        try:
            return self._read(max_values, cost)
        except ValueError as error:
            raise ValueError(f"{self.path} {error}") from error

    def _read(self, max_values: int, cost: int) -> NDArray[np.generic] | list[bytes]:
        if EXTERNAL_FILES in self._messages:
            raise ValueError("is stored in another file; copy its values into this one")
        shape = read_shape(_one(self._messages, DATASPACE))
        kind = read_type(_one(self._messages, DATATYPE))
        n_values = prod(shape)
        if n_values > max_values:
            raise ValueError(f"declares {n_values:,} values; at most {max_values:,} are read")
        self._budget.take_values(n_values * cost)
        stored = stored_bytes(_one(self._messages, LAYOUT), self._file, n_values * kind.n_bytes)
        if isinstance(kind, TextType):
            return read_texts(kind, stored, self._file, self._budget)
        values = np.frombuffer(stored.memory, kind.dtype).reshape(shape)
        return values.astype(bool) if kind.is_bool else values


class Group:
    """Names, each of a group or a dataset."""

    def __init__(self, file: Block, budget: Budget, path: str, links: dict[str, int | None]) -> None:
        self._file, self._budget, self.path, self._links = file, budget, path, links

    def __contains__(self, name: str) -> bool:
        return name in self._links

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._links)

    def get(self, name: str) -> "Group | Dataset":
        """Return what the name stands for.

        Raises:
            ValueError: no such name, a link to elsewhere, or damaged.
        """
        path = f"{self.path}/{name}".lstrip("/")
        if name not in self._links:
            raise ValueError(f"{path} is missing")
        address = self._links[name]
        if address is None:
            raise ValueError(f"{path} is a link; put what it points to in its place")
        try:
            return _object(self._file, self._budget, path, address)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def open_hdf5(data: bytes, max_values: int) -> Group:
    """Return the root group of an HDF5 file (section II.A).

    Args:
        data: the whole file.
        max_values: that may be read in all.

    Raises:
        ValueError: not HDF5, damaged, or of a kind that is not supported.
    """
    file, budget = Block(memoryview(data)), Budget(max_values)
    if not file.is_at(0, SIGNATURE):
        raise ValueError("it does not begin as HDF5 does")
    (version,) = file.unpack("B", 8)
    if version <= 1:
        sizes, start = file.unpack("BB", 13), 24 + 4 * version
        base, _, end, _, _, root = file.unpack("6Q", start)
    elif version <= 3:
        sizes = file.unpack("BB", 9)
        base, _, end, root = file.unpack("4Q", 12)
    else:
        raise ValueError(f"its superblock has version {version}, the newest known is 3")
    if sizes != EIGHT_BYTES or base != 0:
        raise ValueError("its addresses are not 8 bytes from the start of the file")
    if end > len(file):
        raise ValueError(f"it should have {end} bytes and has {len(file)}")
    group = _object(file, budget, "", root)
    if not isinstance(group, Group):
        raise ValueError("its root is not a group")
    return group


def _object(file: Block, budget: Budget, path: str, address: int) -> Group | Dataset:
    messages = _messages(file, budget, address)
    if LAYOUT in messages:
        return Dataset(file, budget, path, messages)
    if SYMBOL_TABLE in messages:
        links = _symbols(file, budget, *_one(messages, SYMBOL_TABLE).unpack("QQ"))
    elif LINK_INFO in messages:
        links = _links(messages)
    else:
        raise ValueError("neither a group nor a dataset")
    return Group(file, budget, path, links)


def _one(messages: Messages, kind: int) -> Block:
    if len(messages.get(kind, ())) != 1:
        raise ValueError("is described in an unknown way")
    return messages[kind][0]


def _messages(file: Block, budget: Budget, address: int) -> Messages:
    """Return an object's messages by type (section IV.A.1)."""
    is_new = file.is_at(address, b"OHDR\2")
    found: Messages = {}
    if is_new:
        (flags,) = file.unpack("B", address + 5)
        start = address + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        (size,) = file.unpack("BHIQ"[flags & 3], start)
        todo = [file.slice(start + (1 << (flags & 3)), size)]
        form = "BHB2x" if flags & 4 else "BHB"
    else:
        version, size = file.unpack("B7xI", address)
        if version != 1:
            raise ValueError("its header is damaged")
        todo, form = [file.slice(address + 16, size)], "HHB3x"
    while todo:
        for kind, body in _parsed(todo.pop(), budget, form):
            if kind != CONTINUATION:
                found.setdefault(kind, []).append(body)
                continue
            at, size = body.unpack("QQ")
            if is_new:  # framed by a signature and a checksum
                file.expect(b"OCHK", at)
                at, size = at + 4, size - 8
            todo.append(file.slice(at, size))
    return found


def _parsed(block: Block, budget: Budget, form: str) -> Iterator[tuple[int, Block]]:
    n_header = 4 + {"BHB": 0, "BHB2x": 2, "HHB3x": 4}[form]
    offset = 0
    while offset + n_header <= len(block):
        budget.take_part()
        kind, size, flags = block.unpack(form, offset)
        if flags & SHARED and kind in (DATASPACE, DATATYPE, LAYOUT, LINK):
            raise ValueError("it shares a description with another object")
        yield kind, block.slice(offset + n_header, size)
        offset += n_header + size


def _symbols(file: Block, budget: Budget, tree: int, heap: int) -> dict[str, int | None]:
    """Return name to address of a group of the old form (sections III.A.1, III.B to III.D)."""
    file.expect(b"HEAP", heap)
    size, start = file.unpack("Q8xQ", heap + 8)
    names = file.slice(start, size)
    links: dict[str, int | None] = {}
    file.expect(b"TREE", tree)
    (level,) = file.unpack("B", tree + 5)
    if level > MAX_LEVELS:
        raise ValueError(f"a tree of {level} levels")
    for leaf in _leaves(file, budget, tree, level):
        file.expect(b"SNOD\1", leaf)
        for index in range(*file.unpack("H", leaf + 6)):
            budget.take_part()
            name_at, address, cache = file.unpack("QQI", leaf + 8 + 40 * index)
            name = names.name_at(name_at)
            if name in links:
                raise ValueError(f"{name!r} is there twice")
            links[name] = None if cache == 2 else address  # 2: a soft link
    return links


def _leaves(file: Block, budget: Budget, node: int, level: int) -> Iterator[int]:
    budget.take_part()
    file.expect(b"TREE\0" + bytes([level]), node)
    (n_children,) = file.unpack("H", node + 6)
    for child in file.unpack(f"{2 * n_children}Q", node + 24)[1::2]:
        if level:
            yield from _leaves(file, budget, child, level - 1)
        else:
            yield child


def _links(messages: Messages) -> dict[str, int | None]:
    """Return name to address of a group of the new form, as far as it is compact (sections IV.A.2.c and .g)."""
    info = _one(messages, LINK_INFO)
    (flags,) = info.unpack("B", 1)
    if info.unpack("Q", 2 + (8 if flags & 1 else 0)) != (UNDEFINED,):
        raise ValueError("a group of the form of HDF5 1.8; write it with h5py's default `libver`")
    links: dict[str, int | None] = {}
    for message in messages.get(LINK, ()):
        (flags,) = message.unpack("B", 1)
        (kind,) = message.unpack("B", 2) if flags & 8 else (0,)
        offset = 2 + (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        (n_bytes,) = message.unpack("BHIQ"[flags & 3], offset)
        offset += 1 << (flags & 3)
        name = message.slice(offset, n_bytes).memory.tobytes().decode("utf-8")
        links[name] = message.unpack("Q", offset + n_bytes)[0] if kind == 0 else None
    return links
