from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from raywce.data.prepare.delimited import read_delimited

TEXTS = ["sol", 'di "si"', '"Ola" dixo', "un, dous", "dúas\nliñas", "nan", ""]


def texts(file: Path, column: str = "text") -> list[object]:
    records = list(read_delimited(file))
    assert not any(record.broken for record in records)
    return [record.fields[column] for record in records]


def written(file: Path, **dialect: object) -> Path:
    out = io.StringIO(newline="")
    writer = csv.writer(out, **dialect)  # type: ignore[arg-type]
    writer.writerows([["file_name", "text"], *([f"{i}.wav", text] for i, text in enumerate(TEXTS))])
    file.write_bytes(out.getvalue().encode())
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n"])
def test_what_a_writer_quoted(tmp_path: Path, suffix: str, delimiter: str, quoting: int, lineterminator: str) -> None:
    file = tmp_path / f"a{suffix}"
    written(file, delimiter=delimiter, quoting=quoting, lineterminator=lineterminator)
    assert texts(file) == TEXTS


def test_cr_ends_lines_but_not_in_quotes(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\r")
    assert texts(file) == TEXTS


def test_tsv_of_pandas(tmp_path: Path) -> None:
    pd.DataFrame({"path": "a.wav", "text": TEXTS}).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert texts(tmp_path / "a.tsv") == TEXTS


@pytest.mark.parametrize(
    "cells",
    [
        ['"todo"', "sol"],  # no writer quotes a word
        ['"Ola, mar"', "un, dous"],  # Excel would quote the second
        ['"di ""si"""', 'di "si"'],  # any writer would quote the second
        ['"sen fin', "sol"],
        ['sol"', '"di ""si"""'],
    ],
)
def test_quotes_that_no_writer_put_there_are_text(tmp_path: Path, cells: list[str]) -> None:
    (tmp_path / "a.tsv").write_text("path\ttext\n" + "".join(f"a.wav\t{cell}\n" for cell in cells))
    assert texts(tmp_path / "a.tsv") == cells


def test_tsv_of_excel_quotes_commas(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('path\ttext\r\na.wav\t"Ola, mar"\r\nb.wav\tsol\r\n')
    assert texts(tmp_path / "a.tsv") == ["Ola, mar", "sol"]


@pytest.mark.parametrize("marks", ["up_votes", "audio_id"])
def test_common_voice_has_no_quoting_but_a_copy_by_pandas(tmp_path: Path, marks: str) -> None:
    said = ['di "si"', '"si"', '"Si", di', "si"]
    table = pd.DataFrame({"client_id": "x", marks: 1, "path": "a.wav", "text": said})
    own = "".join(f"{line}\n" for line in ["\t".join(table), *(f"x\t1\ta.wav\t{text}" for text in said)])
    (tmp_path / "own.tsv").write_text(own)
    table.to_csv(tmp_path / "copy.tsv", sep="\t", index=False)
    assert (tmp_path / "copy.tsv").read_text() != own
    assert texts(tmp_path / "own.tsv") == texts(tmp_path / "copy.tsv") == said


@pytest.mark.parametrize(
    "text",
    [
        'file_name, text\na.wav, "Ola, mar"\n',
        "file_name;text\na.wav;Ola, mar;;\n",
        'sep=;\nfile_name;text\na.wav;"Ola, mar"\n',
        '"File_Name","TEXT"\n"a.wav","Ola, mar"\n',
        '\ufefffile_name\ttext\na.wav\t"Ola, mar"\n',
    ],
)
def test_other_dialects_of_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert [dict(record.fields) for record in read_delimited(tmp_path / "a.csv")] == [
        {"file_name": "a.wav", "text": "Ola, mar"}
    ]
