"""Whether speech is still understood after time stretch and pitch shift: the WER of Whisper base on real recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raywce.augmentation.vocoder import shift_pitch, stretch
from raywce.data.features import LogMel
from raywce.data.store import open_split
from raywce.evaluation.decode import evaluate_utterances
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import to_table
from raywce.model import load_model, load_tokenizer
from tests.speech import WHISPER, folder_of, prepare_speech

LANGUAGES = ["en", "es"]


def stretched(rate: float) -> Callable[[Tensor], Tensor]:
    return lambda waveform: stretch(waveform[None], [len(waveform)], [round(len(waveform) / rate)])[0]


def shifted(semitones: float) -> Callable[[Tensor], Tensor]:
    return lambda waveform: shift_pitch(waveform[None], [len(waveform)], [semitones])[0]


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as recorded": lambda waveform: waveform,
    "stretched by 0.9": stretched(0.9),
    "stretched by 1.1": stretched(1.1),
    "two semitones lower": shifted(-2.0),
    "two semitones higher": shifted(2.0),
}


@pytest.mark.benchmark
def test_speech_is_still_understood(tmp_path: Path) -> None:
    checkpoint = str(folder_of(WHISPER))
    model, tokenizer, log_mel = load_model(checkpoint), load_tokenizer(checkpoint), LogMel.from_checkpoint(checkpoint)
    utterances = open_split(prepare_speech(tmp_path / "prepared"), "dev", LANGUAGES, tmp_path / "cache")
    wers: dict[str, dict[str, float]] = {}
    for name, change in CHANGES.items():
        changed = [change(torch.from_numpy(utterances.audio(index))).numpy() for index in range(len(utterances))]
        rows = evaluate_utterances(
            model,
            tokenizer,
            [utterances[index] for index in range(len(utterances))],
            lambda indices, audio=changed: log_mel.of([audio[index] for index in indices]),
            DecodeSettings(batch_size=8),
        )
        rates = rates_by_language(to_table(rows))
        wers[name] = {language: 100 * rates[language].wer_normalized for language in LANGUAGES}
        print(f"\n{name}: WER", ", ".join(f"{language} {wer:.2f}" for language, wer in wers[name].items()), "%", end="")
    for name in ("stretched by 0.9", "stretched by 1.1"):
        for language in LANGUAGES:
            assert wers[name][language] < wers["as recorded"][language] + 10
