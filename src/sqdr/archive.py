"""Open a zip of a few files, checking its table of contents before it is read into memory."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["UNREADABLE_ARCHIVE", "open_archive"]

# What zipfile raises on damaged, encrypted or foreign archives.
UNREADABLE_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
# APPNOTE 4.3.16: the record that ends an archive, with the size of the table and the length of a comment; with a
# comment zipfile would look for the record elsewhere.
END_BYTES = 22
END_SIGNATURE = b"PK\x05\x06"
TABLE_SIZE = slice(12, 16)
NO_COMMENT = b"\0\0"
# APPNOTE 4.3.15: what precedes that record where 64-bit sizes override it.
LOCATOR_BYTES = 20
LOCATOR_SIGNATURE = b"PK\x06\x07"
# A few dozen names; zipfile takes some hundred bytes of memory for each 46 bytes of table.
MAX_TABLE_BYTES = 64 << 10


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading.

    Args:
        path: the archive.

    Raises:
        zipfile.BadZipFile: not a zip, or one with a comment, 64-bit sizes or a huge table of contents.
            Reading from it raises the others of ``UNREADABLE_ARCHIVE``.
    """
    with path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        file.seek(max(0, n_bytes - END_BYTES - LOCATOR_BYTES))
        tail = file.read()
        end = tail[-END_BYTES:]
        if not end.startswith(END_SIGNATURE) or not end.endswith(NO_COMMENT):
            raise zipfile.BadZipFile("no plain end of an archive")
        if int.from_bytes(end[TABLE_SIZE], "little") > MAX_TABLE_BYTES or tail.startswith(LOCATOR_SIGNATURE):
            raise zipfile.BadZipFile("a table of contents of more than a few files")
        with zipfile.ZipFile(file) as archive:
            yield archive
