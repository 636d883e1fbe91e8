from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from raywce.storage.files import (
    copy_file,
    delete_file,
    delete_folder,
    entries,
    exists,
    is_uri,
    located,
    read_table,
    read_text,
    replaced,
    wait_until_writable,
    write_table,
    write_text,
)


@pytest.fixture(params=["path", "URI"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The temporary folder, as a path and as a URI."""
    return str(tmp_path) if request.param == "path" else tmp_path.as_uri()


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def write_half(file: Path) -> None:
    file.write_text("half")
    raise KeyboardInterrupt


def test_only_a_uri_is_one() -> None:
    assert is_uri("s3://bucket/runs")
    assert not is_uri("/data/runs")
    assert not is_uri("runs")


def test_a_place_has_a_file_system_and_a_path_in_it(root: str, tmp_path: Path) -> None:
    filesystem, path = located(f"{root}/runs")
    assert isinstance(filesystem, fs.LocalFileSystem)
    assert path == str(tmp_path / "runs")


def test_text_is_read_as_it_was_written_last(root: str, tmp_path: Path) -> None:
    place = f"{root}/new/folder/notes.txt"
    for text in ("a long first text", "cañón\n"):
        write_text(place, text)
        assert read_text(place) == text
    assert files_in(tmp_path) == ["new/folder/notes.txt"]


def test_a_table_is_read_as_it_was_written_whole_or_filtered(root: str, tmp_path: Path) -> None:
    place, table = f"{root}/new/rows.parquet", pa.table({"step": [1, 2, 3], "wer": [0.5, 0.4, None]})
    write_table(place, table)
    assert read_table(place).equals(table)
    assert read_table(place, pc.field("step") > 1)["step"].to_pylist() == [2, 3]
    assert files_in(tmp_path) == ["new/rows.parquet"]


def test_a_table_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, table = tmp_path / "rows.parquet", pa.table({"step": [1, 2, 3]})
    write_table(str(place), table)
    whole = place.read_bytes()
    place.write_bytes(whole[:-8])
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: place.write_bytes(whole))
    assert read_table(str(place)).equals(table)


def test_a_write_that_fails_leaves_what_was_there(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_halfway(table: pa.Table, stream: pa.NativeFile) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    place, table = f"{root}/rows.parquet", pa.table({"step": [1]})
    write_table(place, table)
    monkeypatch.setattr("raywce.storage.files.pq.write_table", fail_halfway)
    with pytest.raises(KeyboardInterrupt):
        write_table(place, pa.table({"step": [2]}))
    assert read_table(place).equals(table)
    assert files_in(tmp_path) == ["rows.parquet"]


class Unreachable(io.BytesIO):
    """A stream whose file never arrives: the storage is out of reach when it is closed."""

    def close(self) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")


@pytest.mark.parametrize("type_name", ["local", "s3"])
def test_a_write_is_tried_again_where_the_storage_went_away_with_the_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_name: str
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    local, streams = fs.LocalFileSystem(), [Unreachable()]

    class Storage:
        create_dir, delete_file, move = local.create_dir, local.delete_file, local.move

        def __init__(self) -> None:
            self.type_name = type_name

        def open_output_stream(self, path: str) -> Any:
            return streams.pop() if streams else local.open_output_stream(path)

    monkeypatch.setattr("raywce.storage.files.located", lambda place: (Storage(), place))
    write_text(str(tmp_path / "outcome.json"), "{}")
    assert (tmp_path / "outcome.json").read_text() == "{}"
    assert files_in(tmp_path) == ["outcome.json"]


class Store:
    """Storage on this disk, on which nothing can be moved."""

    def __init__(self, type_name: str, refusal: Exception) -> None:
        self.type_name, self.refusal = type_name, refusal
        self.uploads: list[str] = []
        self.create_dir, self.delete_file = fs.LocalFileSystem().create_dir, fs.LocalFileSystem().delete_file

    def open_output_stream(self, path: str) -> pa.NativeFile:
        self.uploads.append(Path(path).name)
        return fs.LocalFileSystem().open_output_stream(path)

    def move(self, source: str, target: str) -> None:
        raise self.refusal


@pytest.mark.parametrize(
    ("type_name", "uploads"),
    [("s3", ["a.txt"]), ("gcs", ["a.txt"]), ("abfs", ["a.txt.partial", "a.txt"])],  # with a namespace, Azure can move
)
def test_an_object_is_replaced_without_a_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_name: str, uploads: list[str]
) -> None:
    refusal = pa.ArrowNotImplementedError("not implemented for accounts without Hierarchical Namespace support")
    store, place = Store(type_name, refusal), str(tmp_path / "rows.parquet")
    monkeypatch.setattr("raywce.storage.files.located", lambda place: (store, place))
    for text in ("before", "after"):
        store.uploads.clear()
        write_text(str(tmp_path / "a.txt"), text)
        assert (tmp_path / "a.txt").read_text() == text
        assert store.uploads == uploads
    table = pa.table({"step": [1, 2]})
    write_table(place, table)
    assert pq.read_table(place).equals(table)
    assert files_in(tmp_path) == ["a.txt", "rows.parquet"]


def test_a_file_that_can_not_take_its_place_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("before")
    disk = Store("local", PermissionError("Operation not permitted"))
    monkeypatch.setattr("raywce.storage.files.located", lambda place: (disk, place))
    with pytest.raises(PermissionError, match="not permitted"):
        write_text(str(tmp_path / "a.txt"), "after")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert files_in(tmp_path) == ["a.txt"]


def test_files_and_folders_exist_until_they_are_deleted(root: str, tmp_path: Path) -> None:
    for name in ("a/one.txt", "a/b/two.txt"):
        write_text(f"{root}/{name}", name)
    assert sorted(entry.base_name for entry in entries(f"{root}/a")) == ["b", "one.txt"]
    assert exists(f"{root}/a")
    assert exists(f"{root}/a/one.txt")
    for _ in range(2):  # what is gone already is no error
        delete_file(f"{root}/a/one.txt")
        assert not exists(f"{root}/a/one.txt")
    for _ in range(2):
        delete_folder(f"{root}/a")
        assert not exists(f"{root}/a")
        assert entries(f"{root}/a") == []
    assert files_in(tmp_path) == []


def test_what_is_missing_can_not_be_read(root: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(f"{root}/none.txt")
    with pytest.raises(FileNotFoundError):
        read_table(f"{root}/none.parquet")


def test_a_replaced_file_changes_when_the_block_ends(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text("before")
    with replaced(file) as partial:
        partial.write_text("after")
        assert partial.parent == tmp_path
        assert partial.name.startswith(".")
        assert file.read_text() == "before"
    assert file.read_text() == "after"
    assert files_in(tmp_path) == ["figures.json"]


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt), replaced(file) as partial:
        write_half(partial)
    assert file.read_text() == "before"
    assert files_in(tmp_path) == ["figures.json"]


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    with replaced(file) as partial:
        name = partial.name
        partial.write_text("whole")
    (tmp_path / name).write_text("a longer rest of a killed process")
    with replaced(file) as partial:
        partial.write_text("again")
    assert file.read_text() == "again"
    assert files_in(tmp_path) == ["figures.json"]


class Busy:
    """A disk on which another process looks whether a folder is writable before the first one has removed its file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.other_is_due = folder, True

    def open_output_stream(self, path: str) -> pa.NativeFile:
        return fs.LocalFileSystem().open_output_stream(path)

    def delete_file(self, path: str) -> None:
        if self.other_is_due:
            self.other_is_due = False
            wait_until_writable(str(self.folder))
        fs.LocalFileSystem().delete_file(path)


def test_two_processes_find_a_folder_writable_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Busy(tmp_path)
    monkeypatch.setattr("raywce.storage.files.located", lambda place: (disk, place))
    wait_until_writable(str(tmp_path))
    assert not disk.other_is_due
    assert list(tmp_path.iterdir()) == []


def test_a_writable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    wait_until_writable(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_copied_file_appears_whole_in_a_folder_that_is_made(root: str, tmp_path: Path) -> None:
    write_text(f"{root}/a.txt", "content")
    copy_file(f"{root}/a.txt", f"{root}/new/folder/b.txt")
    assert read_text(f"{root}/new/folder/b.txt") == "content"
    copy_file(str(tmp_path / "a.txt"), f"{root}/new/c.txt")
    assert files_in(tmp_path) == ["a.txt", "new/c.txt", "new/folder/b.txt"]
