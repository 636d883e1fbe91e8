"""The model that the package brings, on freshly spoken speech: sentences and voices that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raywce.assets import MICRO_WHISPER, checkpoint_path
from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.demo.sentences import LANGUAGES
from raywce.evaluation.decode import evaluate_utterances
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import to_table
from raywce.model import load_model, load_tokenizer

FOLDER = Path(checkpoint_path(MICRO_WHISPER))


def test_it_is_small_and_whole() -> None:
    model = load_model(str(FOLDER))
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 3e6
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8e6
    assert (FOLDER / "README.md").is_file()


def test_it_knows_five_languages_and_not_galician(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="espeak-ng speaks the demo corpus: pip install 'raywce[demo]'")
    from raywce.demo.corpus import CorpusSize, prepare_corpus

    prepare_corpus(tmp_path / "speech", CorpusSize(dev=40, low_resource_dev=40), splits=("dev",), jobs=2)
    dev = open_split(tmp_path / "speech", "dev", LANGUAGES, tmp_path / "cache")
    log_mel = LogMel.from_checkpoint(str(FOLDER))
    rows = evaluate_utterances(
        load_model(str(FOLDER)),
        load_tokenizer(str(FOLDER)),
        [dev[index] for index in range(len(dev))],
        lambda indices: log_mel.of([dev.audio(index) for index in indices]),
        DecodeSettings(batch_size=40),
    )
    wers = {language: rate.wer_normalized for language, rate in rates_by_language(to_table(rows)).items()}
    assert wers.pop("gl") > 0.6
    assert max(wers.values()) < 0.15, wers  # 0.10 on the whole of dev
