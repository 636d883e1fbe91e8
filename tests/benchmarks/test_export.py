"""A fine-tuned Whisper base through other tools, beside what the evaluation saw; run with -m benchmark -s."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.store import open_split
from tests.benchmarks.demo_runs import raywce
from tests.export.transcribing import by_card
from tests.speech import WHISPER, folder_of, prepare_speech

LANGUAGES = ["ca", "es", "pt"]
EXPERIMENT = Path(__file__).parents[2] / "search_spaces" / "small_cpu.yaml"


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_the_exported_model_writes_what_the_evaluation_saw(tmp_path: Path) -> None:
    whisper = folder_of(WHISPER)
    prepared = prepare_speech(tmp_path / "prepared")
    changes = [f"data.folder={prepared}", f"model.checkpoint={whisper}", f"data.cache={tmp_path / 'cache'}"]
    changes += ["languages.low_resource=[ca]", "languages.high_resource=[es, pt]", "name=real", "resources.workers=1"]
    changes += ["weighting={kind: constant, alpha: 2}", "training.steps=6", f"storage={tmp_path / 'runs'}"]
    raywce("train", str(EXPERIMENT), *changes)
    run, out = tmp_path / "runs" / "real", tmp_path / "out"
    raywce("export", str(run), str(out), "--ctranslate2")
    seen = pq.read_table(run / "train" / "utterances-00000006.parquet").to_pylist()
    dev = open_split(prepared, "dev", LANGUAGES, tmp_path / "cache")
    audio = {dev[index].id: dev.audio(index) for index in range(len(dev))}
    for library in ("transformers", "faster_whisper"):
        transcribe = by_card(out, library)
        same = 0
        for row in seen:
            soundfile.write(tmp_path / "speech.flac", audio[row["id"]], 16_000)
            text = transcribe(str(tmp_path / "speech.flac"), row["language_token"])
            same += text == row["hypothesis"]
            if text != row["hypothesis"]:
                print(f"\n{library}, {row['id']}:\n  evaluation {row['hypothesis']}\n  {library} {text}")
        print(f"\n{library}: {same} of {len(seen)} texts are those of the evaluation")
        assert same == len(seen)
