"""What one GPU does: training steps, decoding and saving of Whisper's shapes, and where the time of a step goes.

python -m tests.benchmarks.gpu FOLDER          on a machine with a CUDA GPU, eight minutes
python -m tests.benchmarks.gpu FOLDER --dry    the same code with a tiny shape, on the CPU

Weights are random, speech is noise of five to seven seconds, and no sequence ends before its bound. transformers'
`Seq2SeqTrainer` and `generate` run beside, in the same process. FOLDER gets `gpu.json`; tables are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.loader import MicroBatch, StepBatch
from raywce.data.schema import SAMPLE_RATE
from raywce.evaluation import greedy
from raywce.evaluation.decode import evaluating
from raywce.model import UtteranceLosses, load_model
from raywce.precision import computing, products
from raywce.profile.peak import matrix_peak, operations
from raywce.training.checkpoint import TrainingState, save_checkpoint
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from raywce.training.step import Stepper, Unread, update
from raywce.valid_json import as_json
from raywce.weighting import AlphaSchedule
from tests.tiny_whisper import write_tiny_whisper

WORDS = 50_000  # tokens beside bytes and special ones: Whisper's vocabulary has 51,865
SHAPES: dict[str, dict[str, int]] = {
    "small": {"d_model": 768, "layers": 12, "decoder_layers": 12, "heads": 12, "bins": 80, "words": WORDS},
    "large-v3-turbo": {"d_model": 1280, "layers": 32, "decoder_layers": 4, "heads": 20, "bins": 128, "words": WORDS},
    "tiny": {"d_model": 32, "layers": 2, "decoder_layers": 2, "heads": 2, "bins": 80, "words": 100},
}
SETTINGS = OptimizerSettings(1e-6, 0.01, 0.9, 0.999, 1e-8, 0, "none", 1.0)
LABELS = (20, 36)  # of an utterance
SECONDS = (5.0, 7.0)  # of an utterance
MARGIN = {"training": 1.0, "decoding": 4.0}  # seconds of silence behind a batch's longest utterance
NEW_TOKENS = 40
KINDS = {  # of a kernel, by what its name has in it
    "attention": ("flash", "fmha", "attention"),
    "products": ("gemm", "cutlass", "nvjet", "cublas", "xmma"),
    "convolutions": ("conv", "cudnn", "dgrad", "wgrad"),
    "norms": ("norm",),
    "optimizer": ("multi_tensor", "adam", "foreach"),
    "copies and casts": ("copy", "memcpy", "memset", "cat"),
    "softmax": ("softmax",),
    "elementwise": ("elementwise", "vectorized", "reduce"),
}


@dataclass
class Sheet:
    """Figures as they come, until the time is over.

    Attributes:
        seconds: for all of them.
        rows: one for each figure; what could not be had says why.
    """

    seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self._began)

    def add(self, part: str, measure: Callable[[], Mapping[str, Any]], needs: float = 10.0, **of: Any) -> None:
        """Measure and keep a row; one for which there is no room, in time or in memory, says so."""
        row: dict[str, Any] = {"part": part, **of}
        if self.left < needs:
            row["missing"] = "no time left"
        else:
            try:
                row |= measure()
            except torch.OutOfMemoryError:
                row["missing"] = "out of memory"
        self.rows.append(row)
        print(json.dumps(row), flush=True)


class Machine:
    """A device: its clock, its memory, and the largest products that it computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._peaks: dict[str, float] = {}

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[int], object], at_least: float = 1.5, first: int = 3) -> float:
        """Median seconds of a run, which is given its number; the first ones are left out."""
        times: list[float] = []
        number = 0
        while number < first + 4 or sum(times) < at_least:
            self.wait()
            began = time.perf_counter()
            run(number)
            self.wait()
            times += [time.perf_counter() - began] if number >= first else []
            number += 1
        return median(times)

    def peak(self, precision: str) -> float:
        """Floating-point operations a second of a large product, measured once."""
        if precision not in self._peaks:
            self._peaks[precision] = matrix_peak(self.device, precision)
        return self._peaks[precision]

    def fresh(self) -> None:
        """Count memory from here."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def gigabytes(self) -> float | None:
        """Peak of what tensors took since `fresh`."""
        return round(torch.cuda.max_memory_allocated(self.device) / 1e9, 1) if self.cuda else None


class Whisper:
    """One shape with random weights: a training of it, and its decoding."""

    def __init__(self, folder: Path, shape: str, machine: Machine) -> None:
        self.shape, self.machine, self.checkpoint = shape, machine, folder / shape
        sizes = SHAPES[shape]
        if not self.checkpoint.exists():
            write_tiny_whisper(
                self.checkpoint,
                words=sizes["words"],
                d_model=sizes["d_model"],
                encoder_layers=sizes["layers"],
                decoder_layers=sizes["decoder_layers"],
                encoder_attention_heads=sizes["heads"],
                decoder_attention_heads=sizes["heads"],
                encoder_ffn_dim=4 * sizes["d_model"],
                decoder_ffn_dim=4 * sizes["d_model"],
                num_mel_bins=sizes["bins"],
            )
        self.model = load_model(str(self.checkpoint)).to(machine.device)
        config = self.model.generation_config
        config.suppress_tokens = [*config.suppress_tokens, config.eos_token_id]
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.log_mel = LogMel.from_checkpoint(str(self.checkpoint)).to(machine.device)

    def batches(self, size: int, context: str, count: int = 4) -> list[StepBatch]:
        """Noise, as the loader gives it."""
        random = np.random.default_rng(0)
        own, made = EncoderContext.of(self.log_mel, context, MARGIN["training"]), []
        for number in range(count):
            samples = [int(of * SAMPLE_RATE) for of in random.uniform(*SECONDS, size)]
            waveforms = torch.zeros(size, max(samples))
            for row, length in zip(waveforms, samples, strict=True):
                row[:length] = torch.randn(length) * 0.1
            lengths = random.integers(*LABELS, size)
            labels = torch.full((size, int(lengths.max())), -100)
            for row, length in zip(labels, lengths, strict=True):
                row[:length] = torch.randint(0, 200, (int(length),))
            languages, ids = (
                ["gl" if of % 4 == 0 else "es" for of in range(size)],
                [f"{number} {i}" for i in range(size)],
            )
            of = {name: [place for place, one in enumerate(languages) if one == name] for name in ("gl", "es")}
            micro = MicroBatch(waveforms, samples, labels, languages, ids, [0] * size, [0] * size)
            micro = micro.pinned() if self.machine.cuda else micro
            tokens = {name: int(lengths[places].sum()) for name, places in of.items()}
            utterances = {name: len(places) for name, places in of.items()}
            made.append(StepBatch([micro], tokens, utterances, ids, own.frames(max(samples) / SAMPLE_RATE)))
        return made

    def trains(self, size: int, context: str, precision: str) -> Callable[[int], None]:
        """Return what runs a training step."""
        scaler = torch.amp.GradScaler(self.machine.device.type) if precision == "fp16" else None
        schedules = {"gl": AlphaSchedule(2.0, 2.0)}
        losses, batches = UtteranceLosses(self.model), self.batches(size, context)
        stepper = Stepper(losses, self.log_mel, schedules, ["gl", "es"], 1000, precision=precision, scaler=scaler)

        before: list[tuple[Unread, torch.Tensor]] = []

        def step(number: int) -> None:
            unread = stepper.gradients(batches[number % len(batches)], number)
            norm = update(self.model, self.optimizer, SETTINGS.max_gradient_norm, scaler)
            for one, its_norm in before:  # a step late, as a training reads it
                one.read(its_norm)
            before[:] = [(unread, norm)]

        return step

    def step(self, size: int, context: str, precision: str) -> dict[str, Any]:
        """Utterances a second, share of the peak, and memory."""
        self.machine.fresh()
        step = self.trains(size, context, precision)
        took = self.machine.seconds(step)
        memory = self.machine.gigabytes()
        return of_steps(self.machine, size, took, precision, operations(lambda: step(0)), memory)

    def decoding(self, size: int, context: str, precision: str, own: bool = True) -> dict[str, Any]:
        """Seconds of speech a second, by our decoder or by transformers' `generate`."""
        model, machine, config = self.model, self.machine, self.model.generation_config
        frames = EncoderContext.of(self.log_mel, context, MARGIN["decoding"]).frames(SECONDS[1])
        features = torch.randn(size, SHAPES[self.shape]["bins"], frames, device=machine.device)
        prompt = [
            config.decoder_start_token_id,
            config.lang_to_id["<|gl|>"],
            config.task_to_id["transcribe"],
            config.no_timestamps_token_id,
        ]
        prompts = torch.tensor([prompt] * size, device=machine.device)
        every = 8 if machine.cuda else 1

        def ours(_: int) -> None:
            encoded = (model.get_encoder()(features).last_hidden_state for _ in range(2))
            batches = (greedy.Batch(one, prompts, [NEW_TOKENS] * size) for one in encoded)
            for _done in greedy.decode(model, batches, size * model.config.max_source_positions, look_every=every):
                pass

        def theirs(_: int) -> None:
            for _batch in range(2):
                model.generate(features, language="gl", task="transcribe", max_new_tokens=NEW_TOKENS)

        machine.fresh()
        with evaluating(model), torch.no_grad(), computing(precision, machine.device):
            took = machine.seconds(ours if own else theirs, first=1)
        return {
            "speech_s": round(2 * size * mean(SECONDS) / took, 1),
            "clips_s": round(2 * size / took, 2),
            "token_ms": round(1e3 * took / (2 * NEW_TOKENS), 2),
            "gigabytes": machine.gigabytes(),
        }

    def where(self, size: int, context: str, precision: str, out: Path) -> dict[str, Any]:
        """Shares of the kernels' time, kernels, and how often the host waits for the device, a step."""
        step, steps = self.trains(size, context, precision), 3
        for number in range(steps):
            step(number)
        self.machine.wait()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.machine.cuda else [])]
        began = time.perf_counter()
        with profile(activities=activities) as found:
            for number in range(steps):
                step(number)
            self.machine.wait()
        wall, events = time.perf_counter() - began, found.events() or []
        kernels = [one for one in events if str(one.device_type).endswith("CUDA")]
        taken = dict.fromkeys([*KINDS, "other"], 0.0)
        for one in kernels:
            taken[_kind(one.name)] += one.time_range.elapsed_us() / 1e6
        busy = sum(taken.values())
        order = "self_device_time_total" if self.machine.cuda else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=70)
        (out / f"profile-{self.shape}-{precision}-{context}-{size}.txt").write_text(table)
        return {
            "busy": round(busy / wall, 3),
            "kernels": len(kernels) // steps,
            "waits": sum(one.name in ("cudaStreamSynchronize", "cudaDeviceSynchronize") for one in events) // steps,
            "reads": sum(one.name == "aten::_local_scalar_dense" for one in events) // steps,
            "shares": {name: round(value / busy, 3) for name, value in taken.items() if value},
        }

    def saved(self) -> dict[str, Any]:
        """Seconds of a checkpoint, its size, and the memory that it takes beside the training's."""
        self.trains(2, "batch", "fp32")(0)  # the optimizer's state is made
        self.machine.fresh()
        before = torch.cuda.memory_allocated(self.machine.device) if self.machine.cuda else 0
        with tempfile.TemporaryDirectory() as folder:
            state = TrainingState(1, self.optimizer.state_dict(), None, 0.0, {})
            began = time.perf_counter()
            save_checkpoint(Path(folder), self.model, state, str(self.checkpoint), None)
            took = time.perf_counter() - began
            size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e9
        peak = torch.cuda.max_memory_allocated(self.machine.device) if self.machine.cuda else 0
        return {
            "seconds": round(took, 2),
            "gigabytes": round(size, 2),
            "added_gigabytes": round((peak - before) / 1e9, 2),
        }


def of_steps(
    machine: Machine, size: int, took: float, precision: str, operations: float, memory: float | None
) -> dict[str, Any]:
    """Figures of a training step."""
    return {
        "utterances_s": round(size / took, 1),
        "step_ms": round(1e3 * took, 1),
        "of_peak": round(operations / took / machine.peak(precision), 3),
        "gigabytes": memory,
    }


def peer_step(whisper: Whisper, size: int, precision: str, steps: int = 8) -> dict[str, Any]:
    """Hugging Face's recipe: features of 30 s made before, pinned by loader processes, their own loop."""
    from transformers import (
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        TrainerCallback,
        WhisperForConditionalGeneration,
    )

    machine, times = whisper.machine, []
    model = WhisperForConditionalGeneration.from_pretrained(whisper.checkpoint, dtype=torch.float32)
    feature = torch.randn(SHAPES[whisper.shape]["bins"], 3000)
    rows = [
        {"input_features": feature, "labels": torch.randint(0, 200, (int(mean(LABELS)),))}
        for _ in range(size * (steps + 2))
    ]

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            machine.wait()
            times.append(time.perf_counter())

    def collate(some: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {key: torch.stack([one[key] for one in some]) for key in some[0]}

    machine.fresh()
    with tempfile.TemporaryDirectory() as folder, products(precision):
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=size,
            max_steps=steps,
            learning_rate=SETTINGS.learning_rate,
            bf16=precision == "bf16",
            use_cpu=not machine.cuda,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_num_workers=4 if machine.cuda else 0,
            remove_unused_columns=False,
        )
        trainer = Seq2SeqTrainer(
            model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Ticks()]
        )
        trainer.train()
    took = median(later - earlier for earlier, later in pairwise(times[2:]))
    memory = machine.gigabytes()
    one = {key: value.to(machine.device) for key, value in collate(rows[:size]).items()}

    def step() -> None:
        with computing(precision, machine.device):
            model(**one, use_cache=False).loss.backward()

    return of_steps(machine, size, took, precision, operations(step), memory)


def _kind(kernel: str) -> str:
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def measured(sheet: Sheet, machine: Machine, out: Path, dry: bool) -> None:
    """Fill the sheet: what matters most first."""
    main, other = ("tiny", "tiny") if dry else ("small", "large-v3-turbo")
    sizes = (2,) if dry else (16, 32, 64, 128)
    with tempfile.TemporaryDirectory() as folder:
        whisper = Whisper(Path(folder), main, machine)

        def step(size: int, context: str, precision: str) -> None:
            of = {"shape": whisper.shape, "precision": precision, "context": context, "batch": size}
            sheet.add("training", lambda: whisper.step(size, context, precision), **of, by="raywce")

        def peer(size: int, precision: str) -> None:
            of = {"shape": whisper.shape, "precision": precision, "context": "full", "batch": size}
            sheet.add("training", lambda: peer_step(whisper, size, precision), 25.0, **of, by="Seq2SeqTrainer")

        def decoding(size: int, context: str, precision: str, own: bool = True) -> None:
            of = {"shape": whisper.shape, "precision": precision, "context": context, "batch": size}
            by = "raywce" if own else "generate"
            sheet.add("decoding", lambda: whisper.decoding(size, context, precision, own), 15.0, **of, by=by)

        def where(size: int, context: str) -> None:
            of = {"shape": whisper.shape, "precision": "bf16", "context": context, "batch": size}
            sheet.add("where a step goes", lambda: whisper.where(size, context, "bf16", out), 15.0, **of)

        for size in sizes:
            step(size, "batch", "bf16")
            decoding(size, "batch", "bf16")
        for size in sizes[:3:2]:
            step(size, "full", "bf16")
            peer(size, "bf16")
            decoding(size, "full", "bf16")
            decoding(size, "full", "bf16", own=False)
        where(sizes[0], "batch")
        where(sizes[0], "full")
        sheet.add("checkpoint", whisper.saved, 15.0, shape=whisper.shape)
        for precision in ("tf32", "fp32", "fp16"):
            step(sizes[0], "batch", precision)
        step(sizes[0], "full", "fp32")
        peer(sizes[0], "fp32")
        decoding(sizes[0], "batch", "fp32")
        del whisper
        whisper = Whisper(Path(folder), other, machine)
        for size in sizes[:2]:
            step(size, "batch", "bf16")
        step(sizes[0], "full", "bf16")
        peer(sizes[0], "bf16")
        decoding(sizes[-1], "batch", "bf16")
        where(sizes[0], "batch")
        sheet.add("checkpoint", whisper.saved, 25.0, shape=whisper.shape)


def tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each part as a table in Markdown."""
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [{key: value for key, value in row.items() if key != "part"} for row in rows if row["part"] == part]
        columns = list(dict.fromkeys(key for row in own for key in row))
        yield f"### {part}\n"
        for cells in (columns, ["---"] * len(columns), *([row.get(key, "") for key in columns] for row in own)):
            yield f"| {' | '.join(map(str, cells))} |"
        yield ""


def main() -> None:
    """Measure, print tables, and write gpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.add_argument("--dry", action="store_true", help="a tiny shape on the CPU")
    parser.add_argument("--seconds", type=float, default=480.0)
    given = parser.parse_args()
    if not given.dry and not torch.cuda.is_available():
        parser.error("needs a CUDA device; --dry runs the same code on the CPU")
    given.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if given.dry else "cuda:0")
    sheet, machine = Sheet(given.seconds), Machine(device)
    measured(sheet, machine, given.out, given.dry)
    about = {
        "device": str(device) if given.dry else torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "cpus": os.cpu_count(),
        "peak_tflops": {name: round(machine.peak(name) / 1e12, 3) for name in ("fp32", "tf32", "bf16", "fp16")},
    }
    text = as_json(json.loads(json.dumps({**about, "rows": sheet.rows})))
    (given.out / "gpu.json").write_text(text, encoding="utf-8")
    print(json.dumps(about))
    print("\n".join(tables(sheet.rows)))


if __name__ == "__main__":
    main()
