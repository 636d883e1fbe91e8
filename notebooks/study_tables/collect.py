"""Tables of a run without what was said, in a folder here with its name: `python collect.py FOLDER ...`.

Of each utterance stay its counts, its length and who spoke: its id is hashed, speakers are numbered, and texts are
gone. The run's other tables are copied, without what names utterances and places. FOLDER may also hold what
`raywce evaluate --out` wrote, each table with the name of its model.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raywce.evaluation.loops import is_loop
from raywce.evaluation.utterances import COUNT_NAMES
from raywce.runs.folder import RunFolder
from raywce.runs.recorded import recorded

KEPT = ("phase", "trial_id", "split", "language", "duration", "detected_language", "truncated", "stopped")
NAMED = ("tables", "notes")  # of the outcome: places, and ids of utterances


def without_texts(table: pa.Table, group: str) -> pa.Table:
    """A table of utterances without ids, names and texts, with the counts of one kind, and `loop`."""
    hashed = [hashlib.sha256(one.encode()).hexdigest()[:16] for one in table["id"].to_pylist()]
    speakers: dict[tuple[str, str | None], int] = {}
    numbers = [
        str(speakers.setdefault(one, len(speakers))) if one[1] is not None else None
        for one in zip(table["language"].to_pylist(), table["speaker"].to_pylist(), strict=True)
    ]
    loops = map(is_loop, table["hypothesis"].to_pylist(), table["truncated"].to_pylist())
    columns = {"id": pa.array(hashed), "speaker": pa.array(numbers, pa.string()), "loop": pa.array(loops)}
    columns |= {name: table[name] for name in KEPT if name in table.column_names}
    columns |= {name: table[name] for name in (f"{group}_{count}" for count in COUNT_NAMES)}
    return pa.table(columns)


def collect(run: Path, out: Path) -> None:
    """Write a run's tables into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    outcome = json.loads((run / "outcome.json").read_text())
    metrics = recorded(RunFolder.at(str(run))).experiment.metrics
    utterances = without_texts(pq.read_table(run / "utterances.parquet"), metrics.of(outcome["low_resource"][0]).group)
    pq.write_table(utterances, out / "utterances.parquet", compression="zstd")
    trials = pq.read_table(run / "trials.parquet").drop_columns("utterances")  # places on that machine
    pq.write_table(trials.filter(pc.field("final")), out / "trials.parquet", compression="zstd")
    kept = {name: value for name, value in outcome.items() if name not in NAMED}
    (out / "outcome.json").write_text(json.dumps(kept, indent=1) + "\n")


def collect_evaluated(folder: Path, out: Path) -> None:
    """Write the tables of `raywce evaluate` into the folder `out`, as one."""
    out.mkdir(parents=True, exist_ok=True)
    tables = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        tables.append(table.append_column("trial_id", pa.array([path.stem] * len(table))))
    pq.write_table(
        without_texts(pa.concat_tables(tables), "words_normalized"), out / "utterances.parquet", compression="zstd"
    )


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        is_run = (folder / "outcome.json").exists()
        (collect if is_run else collect_evaluated)(folder, Path(__file__).parent / folder.name)
