"""Steps of one way of fine-tuning, in a process of its own; prints seconds a step and peak memory as JSON.

python -m tests.benchmarks.short_training WAY FOLDER STEPS
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tests.benchmarks.real_training import SETTINGS, Training
from tests.speech import WHISPER, folder_of

BATCH_SIZE = 8
SECONDS = (3.0, 8.0)
WINDOW = 8  # steps whose utterances are sorted by duration
WAYS: dict[str, dict[str, Any]] = {
    "full, fp32": {"precision": "fp32", "context": {"length": "full"}},
    "full, bf16": {"precision": "bf16", "context": {"length": "full"}},
    "batch, fp32": {"precision": "fp32", "context": {"length": "batch", "margin": 1.0}, "duration_window": WINDOW},
    "batch, bf16": {"precision": "bf16", "context": {"length": "batch", "margin": 1.0}, "duration_window": WINDOW},
}
PEER = "Seq2SeqTrainer, fp32, 30 s"
PEER_BF16 = "Seq2SeqTrainer, bf16, 30 s"


class Clock:
    """Seconds of the wall, and of the processor, from one step to the next; the first step is left out."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self._last: tuple[float, float] | None = None

    def tick(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._last:
            self.steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def own_steps(way: str, folder: Path, steps: int) -> Clock:
    training, clock = Training(folder, BATCH_SIZE, steps, seconds=SECONDS, **WAYS[way]), Clock()
    for number, batch in enumerate(training.loader.batches(0)):
        training.step(batch, number)
        clock.tick()
    return clock


def peer_steps(way: str, folder: Path, steps: int) -> Clock:
    """As Hugging Face's recipe does it: features of 30 s made before, a collator that pads labels, plain loss."""
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback, WhisperForConditionalGeneration

    training, clock = Training(folder, BATCH_SIZE, steps, seconds=SECONDS), Clock()
    checkpoint = str(folder_of(WHISPER))
    model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    rows = [
        {"input_features": training.log_mel(micro.waveforms), "labels": micro.labels}
        for batch in training.loader.batches(0)
        for micro in batch.micro_batches
    ]

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder / "peer"),
        per_device_train_batch_size=1,  # a row is a batch of eight already
        max_steps=steps,
        learning_rate=SETTINGS.learning_rate,
        bf16=way == PEER_BF16,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    Seq2SeqTrainer(
        model=model, args=arguments, train_dataset=rows, data_collator=lambda some: some[0], callbacks=[Ticks()]
    ).train()
    return clock


def main(way: str, folder: str, steps: str) -> None:
    """Train and print."""
    run = own_steps if way in WAYS else peer_steps
    clock = run(way, Path(folder), 1 + int(steps))
    wall, processor = (median(times) for times in zip(*clock.steps, strict=True))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"wall": wall, "processor": processor, "gigabytes": gigabytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
