from __future__ import annotations

from pathlib import Path

from raywce.data.prepare.passed_over import PassedOver, PassedOverFiles


def test_groups_by_folder_and_reason_with_the_first_names() -> None:
    files = PassedOverFiles()
    for index in reversed(range(100)):
        files.add(Path("b"), f"{index:03}.wav", "audio")
    files.add(Path("b"), "x.csv", "table")
    other = PassedOverFiles()
    other.add(Path("a"), "\udce1.csv", "table")
    other.add(Path("b"), "w.csv", "table")
    files.update(other)
    first = tuple(f"{index:03}.wav" for index in range(20))
    assert files.groups() == (
        PassedOver("a", 1, ("?.csv",), "table"),
        PassedOver("b", 100, first, "audio"),
        PassedOver("b", 2, ("w.csv", "x.csv"), "table"),
    )


def test_place() -> None:
    assert PassedOver("in", 1, ("a.csv",), "").place == "in/a.csv"
    assert PassedOver("in", 2, ("a.csv", "b.csv"), "").place == "in: 2 files (a.csv, b.csv)"
    assert PassedOver("in", 9, ("a", "b", "c", "d"), "").place == "in: 9 files (a, b, c, ...)"
