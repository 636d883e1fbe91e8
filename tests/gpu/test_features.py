"""Log-mel features on the GPU are the CPU's and transformers', whatever the model computes in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from raywce.data.features import LogMel
from raywce.precision import computing

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_features_are_the_cpus_and_transformers(device: torch.device, precision: str) -> None:
    extractor, rng = WhisperFeatureExtractor(), np.random.default_rng(0)
    lengths = ((16_000, 0.1), (95_001, 0.01)) + (((480_000, 0.3),) if device.type == "cuda" else ())
    audio = [(level * rng.standard_normal(length)).astype(np.float32) for length, level in lengths]
    with computing(precision, device):
        own = LogMel(extractor).to(device).of(audio)
    assert own.device.type == device.type
    torch.testing.assert_close(own.cpu(), LogMel(extractor).of(audio), rtol=0, atol=1e-4)
    theirs = torch.from_numpy(extractor(audio, sampling_rate=16_000, return_tensors="np")["input_features"])
    torch.testing.assert_close(own.cpu(), theirs, rtol=0, atol=1e-4)
