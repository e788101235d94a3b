"""Zips: the table of contents is measured before it is read into memory."""

import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from sqdr.archive import MAX_TABLE_BYTES, open_archive

END = 22


def archive_of(path: Path, n_files: int, comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(n_files):
            archive.writestr(f"file {index}", b"content")
        archive.comment = comment
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(zipfile.BadZipFile, match=message), open_archive(path):
        pass


def test_small_archive_is_opened_and_closed_again(tmp_path: Path) -> None:
    with open_archive(archive_of(tmp_path / "a.zip", 3)) as archive:
        assert archive.namelist() == ["file 0", "file 1", "file 2"]
        assert archive.read("file 2") == b"content"
    with pytest.raises(ValueError, match="closed"):
        archive.read("file 2")


def test_table_of_too_many_files_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", 20_000)
    tracemalloc.start()
    try:
        refused(path, "a table of contents of more than a few files")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_TABLE_BYTES


def test_what_would_lead_zipfile_to_another_table_is_refused(tmp_path: Path) -> None:
    refused(archive_of(tmp_path / "comment.zip", 1, b"see below"), "no plain end of an archive")
    data = archive_of(tmp_path / "a.zip", 1).read_bytes()
    # APPNOTE 4.3.14 and 4.3.15: a 64-bit record that declares a table of 2^40 bytes, and its locator
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(data) - END, 1)
    (tmp_path / "large.zip").write_bytes(data[:-END] + record + locator + data[-END:])
    refused(tmp_path / "large.zip", "a table of contents of more than a few files")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06", bytes(21), bytes(100), b"PK\x05\x06" + bytes(17)])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", "no plain end of an archive|not a zip file")
