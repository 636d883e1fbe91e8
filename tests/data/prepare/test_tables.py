from __future__ import annotations

from pathlib import Path

import pytest

from raywce.data.prepare.summary import Reason
from raywce.data.prepare.tables import read_records


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_tsv_has_quoting_off_and_null_is_a_word(tmp_path: Path) -> None:
    text = 'path\tsentence\na.mp3\t"Abre sen fin\nb.mp3\tnull\nc.mp3\tNA\nd.mp3\t"todo"\ne.mp3\n'
    records = list(read_records(write(tmp_path / "train.tsv", text)))
    assert [record.fields["sentence"] for record in records] == ['"Abre sen fin', "null", "NA", '"todo"', ""]
    assert not any(record.broken for record in records)


def test_tsv_row_with_a_tab_too_many(tmp_path: Path) -> None:
    records = list(read_records(write(tmp_path / "a.tsv", "path\tsentence\na.mp3\tun\tdous\nb.mp3\ttres\n")))
    assert records[0].broken
    assert records[0].broken[0] is Reason.MALFORMED_ROW
    assert records[1].fields == {"path": "b.mp3", "sentence": "tres"}


HEADER = "file_name,text,language\n"


@pytest.mark.parametrize(
    ("body", "texts", "broken"),
    [
        ('a.wav,"Ola, mar",gl\nb.wav,"Di ""si""",gl\n', ["Ola, mar", 'Di "si"'], {}),
        ('a.wav,"dúas\nliñas",gl\nb.wav,sol,gl\n', ["dúas\nliñas", "sol"], {}),
        ('a.wav,"sen fin,gl\nb.wav,"sol, lúa",gl\n', ['"sen fin', "sol, lúa"], {}),
        ('a.wav,"sen fin,gl\nb.wav,sol,gl\nc.wav,fin",gl\n', ['"sen fin', "sol", 'fin"'], {}),
        ('a.wav,"sen, fin,gl\nb.wav,sol,gl\n', [None, "sol"], {0: Reason.UNBALANCED_QUOTE}),
        ('a.wav,sol,gl\nb.wav,"sen, fin,gl', ["sol", None], {1: Reason.UNBALANCED_QUOTE}),
        ("a.wav,un,gl,máis\nb.wav,sol,gl\n", [None, "sol"], {0: Reason.MALFORMED_ROW}),
    ],
)
def test_csv_quotes_stay_in_their_row(
    tmp_path: Path, body: str, texts: list[str | None], broken: dict[int, Reason]
) -> None:
    records = list(read_records(write(tmp_path / "metadata.csv", HEADER + body)))
    assert {i: record.broken[0] for i, record in enumerate(records) if record.broken} == broken
    assert [None if record.broken else record.fields["text"] for record in records] == texts


def test_an_unbalanced_quote_is_marked(tmp_path: Path) -> None:
    body = 'a.wav,"sen fin,gl\nb.wav,sol,gl\n'
    records = list(read_records(write(tmp_path / "metadata.csv", HEADER + body)))
    assert [record.unbalanced_quote for record in records] == [True, False]


def test_json_lines(tmp_path: Path) -> None:
    text = '{"text": "un\\u2028dous"}\nnot json\n[1]\n{"text": "tres"}\n'
    records = list(read_records(write(tmp_path / "a.jsonl", text)))
    assert [bool(record.broken) for record in records] == [False, True, True, False]
    assert records[0].fields["text"] == "un\u2028dous"


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".csv"])
def test_what_is_not_utf8_is_broken(tmp_path: Path, suffix: str) -> None:
    rows = {
        ".tsv": b"path\ttext\na\t\xe1\nb\tsi\n",
        ".csv": b"path,text\na,\xe1\nb,si\n",
        ".jsonl": b'{"path": "a", "text": "\xe1"}\n{"path": "b", "text": "si"}\n',
    }
    records = list(read_records(write(tmp_path / f"a{suffix}", rows[suffix])))
    assert [record.broken[0] if record.broken else None for record in records] == [Reason.NOT_UTF8, None]
    records[0].fields["text"].encode()  # can be written
