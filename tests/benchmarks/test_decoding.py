"""Evaluation (speech to WER) against `generate` as in Hugging Face's recipe, and CTranslate2; run with -m benchmark -s.

The same clips of 3 to 8 s and the same threads, in turns in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from raywce.data.features import LogMel
from raywce.data.store import Utterance, Utterances, open_split
from raywce.evaluation.decode import TokenBound, batch_by_duration, encoder_context, evaluate_utterances
from raywce.evaluation.normalizer import NORMALIZERS
from raywce.evaluation.settings import DecodeSettings
from raywce.model import load_model, load_tokenizer
from tests.benchmarks.real_training import LANGUAGES
from tests.speech import WHISPER, folder_of, prepare_speech

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(2 * 3600)]

ROUNDS, CLIPS = 3, 24
RECIPE_BATCH, OWN_BATCH = 8, 16
Texts = list[str]


class Speech:
    """Clips of dev, test and train, as prepared."""

    def __init__(self, folder: Path) -> None:
        prepared = prepare_speech(folder / "prepared")
        sets = [open_split(prepared, split, LANGUAGES, folder / "cache") for split in ("dev", "test")]
        clips = [(one, index) for one in sets for index in range(len(one)) if 3.0 <= one.durations[index] <= 8.0]
        self.clips: list[tuple[Utterances, int]] = clips[:: max(1, len(clips) // CLIPS)][:CLIPS]
        self.said: list[Utterance] = [one[index] for one, index in self.clips]
        self.durations = [one.duration for one in self.said]

    def audio(self, number: int) -> np.ndarray:
        one, index = self.clips[number]
        return one.audio(index)


def recipe(speech: Speech) -> Callable[[], Texts]:
    """`generate` on features of 30 s, float32, eight at a time, in the order of the data."""
    checkpoint = str(folder_of(WHISPER))
    model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer, extractor = load_tokenizer(checkpoint), WhisperFeatureExtractor.from_pretrained(checkpoint)

    def run() -> Texts:
        texts: Texts = []
        for start in range(0, len(speech.said), RECIPE_BATCH):
            numbers = range(start, min(start + RECIPE_BATCH, len(speech.said)))
            audio = [speech.audio(number) for number in numbers]
            features = extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
            languages = [speech.said[number].language for number in numbers]
            # The same bound as everybody's, so that a runaway repetition is no advantage of ours.
            limit = max(TokenBound().tokens(speech.durations[one], speech.said[one].language, 448) for one in numbers)
            tokens = model.generate(features, language=languages, task="transcribe", max_new_tokens=limit)
            texts += [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        return texts

    return run


def own(speech: Speech, length: str, precision: str, batch_size: int) -> Callable[[], Texts]:
    checkpoint = str(folder_of(WHISPER))
    model, tokenizer = load_model(checkpoint), load_tokenizer(checkpoint)
    log_mel = LogMel.from_checkpoint(checkpoint)
    settings = DecodeSettings(batch_size=batch_size, precision=precision, encoder_context=length)
    context = encoder_context(log_mel, settings)

    def features(numbers: list[int]) -> torch.Tensor:
        frames = context.frames(max(speech.durations[number] for number in numbers))
        return log_mel.of([speech.audio(number) for number in numbers], frames)

    def run() -> Texts:
        rows = evaluate_utterances(
            model,
            tokenizer,
            speech.said,
            features,
            settings,
        )
        texts = {row.id: row.hypothesis for row in rows}
        return [texts[one.id] for one in speech.said]

    return run


def ctranslate2_peer(speech: Speech, folder: Path, compute_type: str) -> Callable[[], Texts]:
    peer = pytest.importorskip("ctranslate2", reason="the peer is not installed: pip install ctranslate2")
    checkpoint, converted = str(folder_of(WHISPER)), folder / "ctranslate2"
    if not converted.exists():
        peer.converters.TransformersConverter(checkpoint).convert(str(converted))
    threads = torch.get_num_threads()
    model = peer.models.Whisper(str(converted), compute_type=compute_type, intra_threads=threads, inter_threads=1)
    tokenizer, log_mel = load_tokenizer(checkpoint), LogMel.from_checkpoint(checkpoint)

    def run() -> Texts:
        texts: dict[int, str] = {}
        for numbers in batch_by_duration(speech.durations, RECIPE_BATCH):
            features = log_mel.of([speech.audio(number) for number in numbers])
            prompts = [
                ["<|startoftranscript|>", f"<|{speech.said[number].language}|>", "<|transcribe|>", "<|notimestamps|>"]
                for number in numbers
            ]
            limit = max(TokenBound().tokens(speech.durations[one], speech.said[one].language, 448) for one in numbers)
            view = peer.StorageView.from_array(np.ascontiguousarray(features.numpy()))
            results = model.generate(view, prompts, beam_size=1, max_length=min(448, limit + 4))
            for number, result in zip(numbers, results, strict=True):
                texts[number] = tokenizer.decode(result.sequences_ids[0], skip_special_tokens=True).strip()
        return [texts[number] for number in range(len(speech.said))]

    return run


def timed(run: Callable[[], Texts]) -> tuple[float, float, Texts]:
    start = time.perf_counter(), time.process_time()
    texts = run()
    return time.perf_counter() - start[0], time.process_time() - start[1], texts


def wer(speech: Speech, texts: Texts) -> float:
    """Percent, texts normalised."""
    normalize = NORMALIZERS["words"]
    return 100 * jiwer.wer([normalize(one.text) for one in speech.said], [normalize(text) for text in texts])


def test_evaluation_against_generate_and_ctranslate2(tmp_path: Path) -> None:
    speech = Speech(tmp_path)
    ways: dict[str, Any] = {
        "generate, fp32, 30 s": recipe(speech),
        "own, fp32, 30 s, batch 8": own(speech, "full", "fp32", RECIPE_BATCH),
        "own, fp32, batch context": own(speech, "batch", "fp32", OWN_BATCH),
        "own, bf16, batch context": own(speech, "batch", "bf16", OWN_BATCH),
        "CTranslate2, fp32": ctranslate2_peer(speech, tmp_path, "float32"),
        "CTranslate2, int8": ctranslate2_peer(speech, tmp_path, "int8"),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    said: dict[str, Texts] = {}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            wall, processor, said[name] = timed(run)
            taken[name].append((wall, processor))
    print(f"\n{len(speech.said)} clips, {sum(speech.durations):.0f} s, {torch.get_num_threads()} threads")
    print(f"{'':28}{'clips/s':>9}{'× generate':>12}{'× int8':>8}{'(processor time)':>22}{'WER %':>8}")
    ratios: dict[tuple[str, str], float] = {}
    for name in ways:
        clips = median(len(speech.said) / wall for wall, _ in taken[name])
        cells = []
        for unit in (0, 1):
            for peer in ("generate, fp32, 30 s", "CTranslate2, int8"):
                pairs = zip(taken[peer], taken[name], strict=True)
                ratio = median(theirs[unit] / ours[unit] for theirs, ours in pairs)
                cells.append(ratio)
                ratios[name, peer] = ratio  # of processor time, in the end: other work does not count
        error = wer(speech, said[name])
        print(f"{name:28}{clips:9.2f}{cells[0]:12.2f}{cells[1]:8.2f}{cells[2]:12.2f}{cells[3]:10.2f}{error:8.2f}")
    assert said["own, fp32, 30 s, batch 8"] == said["generate, fp32, 30 s"]
    assert ratios["own, bf16, batch context", "generate, fp32, 30 s"] >= 4
    assert ratios["own, bf16, batch context", "CTranslate2, int8"] >= 2.5
