from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel, pad_waveforms
from raywce.precision import computing
from tests.tiny_whisper import write_tiny_whisper

RATE = 16_000
TOLERANCE = 1e-4


def noise(samples: int, loudness: float = 0.1) -> NDArray[np.float32]:
    return np.random.default_rng(samples).normal(0, loudness, samples).astype(np.float32)


WAVEFORMS = {
    "one sample": noise(1),
    "less than a window": noise(150),
    "a second": noise(RATE),
    "not a multiple of the hop": noise(3 * RATE + 77),
    "silence": np.zeros(2 * RATE, np.float32),
    "clipped": np.clip(noise(RATE, 10.0), -1, 1),
    "exactly the window": noise(30 * RATE),
    "just below the window": noise(30 * RATE - 1),
    "ends within a transform of the window": noise(30 * RATE - 399),
    "quiet, then loud": np.concatenate([noise(RATE, 1e-5), noise(RATE, 1.0)]),
}


def assert_equal_features(features: torch.Tensor, expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(features.numpy(), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_equals_the_feature_extractor(name: str) -> None:
    extractor = WhisperFeatureExtractor()
    expected = extractor(WAVEFORMS[name], sampling_rate=RATE)["input_features"]
    features = LogMel(extractor).of([WAVEFORMS[name]])
    assert features.shape == (1, 80, 3000)
    assert_equal_features(features, expected)


def test_equals_the_feature_extractor_without_torch() -> None:
    extractor = WhisperFeatureExtractor()
    padded = np.pad(WAVEFORMS["a second"], (0, 29 * RATE))
    expected = extractor._np_extract_fbank_features(padded[None], device="cpu")
    assert_equal_features(LogMel(extractor).of([WAVEFORMS["a second"]]), expected)


def test_a_batch_of_different_lengths_equals_single_utterances() -> None:
    extractor = WhisperFeatureExtractor()
    log_mel = LogMel(extractor)
    waveforms = [WAVEFORMS[name] for name in ("one sample", "silence", "clipped", "just below the window")]
    batch = log_mel.of(waveforms)
    assert_equal_features(batch, extractor(waveforms, sampling_rate=RATE)["input_features"])
    assert_equal_features(batch, torch.cat([log_mel.of([waveform]) for waveform in waveforms]).numpy())


@pytest.mark.parametrize("mel_bins", [80, 128])
def test_bins_and_window_are_the_checkpoints_own(tmp_path: Path, mel_bins: int) -> None:
    checkpoint = write_tiny_whisper(tmp_path, chunk_length=2, num_mel_bins=mel_bins)
    log_mel = LogMel.from_checkpoint(str(checkpoint))
    expected = WhisperFeatureExtractor.from_pretrained(checkpoint)(WAVEFORMS["a second"], sampling_rate=RATE)
    features = log_mel.of([WAVEFORMS["a second"]])
    assert features.shape == (1, mel_bins, 200)
    assert_equal_features(features, expected["input_features"])
    with pytest.raises(ValueError, match="at most 32000 samples long, but got 32001"):
        log_mel.of([noise(2 * RATE + 1)])


def test_over_long_audio_is_refused_and_not_cut() -> None:
    with pytest.raises(ValueError, match="at most 480000 samples long, but got 480001"):
        LogMel(WhisperFeatureExtractor()).of([noise(100), noise(30 * RATE + 1)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_the_model_does_not_reach_the_features(dtype: torch.dtype) -> None:
    log_mel = LogMel(WhisperFeatureExtractor())
    expected = log_mel.of([WAVEFORMS["a second"]])
    with torch.autocast("cpu", dtype):
        features = log_mel.of([WAVEFORMS["a second"]])
    assert features.dtype == torch.float32
    assert torch.equal(features, expected)


def test_the_mel_product_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    stft, seen = torch.stft, []

    def watched(*args: object, **options: object) -> torch.Tensor:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return stft(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "stft", watched)
    with computing("tf32", torch.device("cpu")):
        assert torch.backends.cuda.matmul.allow_tf32
        LogMel(WhisperFeatureExtractor()).of([WAVEFORMS["a second"]])
    assert seen == [False]


def test_padding_is_behind_and_zero() -> None:
    padded = pad_waveforms([np.ones(3, np.float32), np.ones(1, np.float32)])
    assert padded.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("name", [name for name, waveform in WAVEFORMS.items() if len(waveform) <= 10 * RATE])
def test_fewer_frames_are_the_first_ones_of_the_window(name: str) -> None:
    """To the bit, also where the audio fills them to the last sample and is heard in the frame behind."""
    log_mel, waveform = LogMel(WhisperFeatureExtractor()), WAVEFORMS[name]
    whole = log_mel.of([waveform])
    for frames in (-(-len(waveform) // 160), -(-len(waveform) // 160) + 1, 1000, 3000):
        cut = log_mel.of([waveform], frames)
        assert cut.shape == (1, 80, frames)
        assert torch.equal(cut, whole[..., :frames])


def test_the_loudest_bin_counts_though_it_lies_behind_the_frames() -> None:
    """A click at the last sample is loudest in the frame behind it."""
    waveform = noise(RATE, 1e-4)
    waveform[-1] = 1.0
    log_mel = LogMel(WhisperFeatureExtractor())
    whole = log_mel.of([waveform])
    assert whole[..., :100].max() < whole.max()
    assert torch.equal(log_mel.of([waveform], 100), whole[..., :100])


def test_audio_beyond_the_frames_is_refused_and_not_cut() -> None:
    with pytest.raises(ValueError, match="at most 16000 samples long, but got 16001"):
        LogMel(WhisperFeatureExtractor()).of([noise(RATE + 1)], 100)
