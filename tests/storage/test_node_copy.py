from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from raywce.errors import InputError
from raywce.storage.node_copy import has_parquet, on_node, rows_in


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A folder, for those who reach it by its URI."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def texts(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.parquet")}


def test_a_path_is_where_it_is(tmp_path: Path) -> None:
    assert on_node(str(tmp_path), tmp_path / "cache", ["train/gl"]) == tmp_path
    assert not (tmp_path / "cache").exists()


def test_only_the_wanted_parts_are_copied(bucket: Path, tmp_path: Path) -> None:
    for name in ("train/gl/0.parquet", "train/es/0.parquet", "test/gl/0.parquet"):
        write(bucket, name, name)
    here = on_node(f"file://{bucket}", tmp_path / "cache", ["train/gl", "train/es", "train/pt"])
    assert texts(here) == {name: name for name in ("train/gl/0.parquet", "train/es/0.parquet")}


def test_a_file_is_copied_once_and_again_where_it_has_changed(bucket: Path, tmp_path: Path) -> None:
    first, second = write(bucket, "train/gl/0.parquet", "one"), write(bucket, "train/gl/1.parquet", "two")
    here = on_node(f"file://{bucket}", tmp_path / "cache", ["train/gl"])
    copied = (here / "train/gl/0.parquet").stat().st_ino
    second.write_text("2.0")  # as long as before
    os.utime(second, ns=(5, 5))
    on_node(f"file://{bucket}", tmp_path / "cache", ["train/gl"])
    assert texts(here) == {"train/gl/0.parquet": "one", "train/gl/1.parquet": "2.0"}
    assert (here / "train/gl/0.parquet").stat().st_ino == copied
    first.unlink()
    on_node(f"file://{bucket}", tmp_path / "cache", ["train/gl"])
    assert texts(here) == {"train/gl/1.parquet": "2.0"}


def test_a_folder_as_a_whole(bucket: Path, tmp_path: Path) -> None:
    write(bucket, "model/config.parquet", "{}")
    here = on_node(f"file://{bucket}/model", tmp_path / "cache")
    assert texts(here) == {"config.parquet": "{}"}
    assert texts(on_node(f"file://{bucket}/model", tmp_path / "cache")) == {"config.parquet": "{}"}


def test_whether_a_part_holds_parquet(bucket: Path, tmp_path: Path) -> None:
    write(bucket, "train/gl/0.parquet", "")
    write(bucket, "train/es/notes.txt", "")
    for folder in (f"file://{bucket}", str(bucket)):
        assert [has_parquet(folder, f"train/{language}") for language in ("gl", "es", "pt")] == [True, False, False]


def test_rows_are_counted_from_the_files_ends(tmp_path: Path) -> None:
    for part, rows in (("test/gl", 3), ("test/es", 2)):
        (tmp_path / part).mkdir(parents=True)
        pq.write_table(pa.table({"id": list(range(rows))}), tmp_path / part / "0.parquet")
    assert rows_in(str(tmp_path), ["test/gl", "test/es", "test/fr"]) == 5
    assert rows_in(tmp_path.as_uri(), ["test/gl"]) == 3
    (tmp_path / "test/gl/1.parquet").touch()
    with pytest.raises(InputError, match="must be a parquet file"):
        rows_in(str(tmp_path), ["test/gl"])
