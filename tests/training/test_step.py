"""The same global batch gives the same gradient for any number of workers and any split into micro-batches."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from raywce.data.context import EncoderContext
from raywce.data.features import LogMel
from raywce.data.labels import IGNORED, LabelEncoder, pad_labels
from raywce.data.loader import Corpus, Loader, StepBatch
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import label_lengths, open_split
from raywce.lora import LoraSettings, add_adapter
from raywce.loss import counted_positions
from raywce.model import UtteranceLosses, decoder_inputs, load_model, load_tokenizer
from raywce.training.optimizer import OptimizerSettings, make_optimizer
from raywce.training.step import NotFiniteError, Stepper, StepResult, update
from raywce.weighting import AlphaSchedule
from tests.tiny_corpus import write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

LOW = "en"  # with these weights its loss is above the others': the dynamic ratio is in force
LANGUAGES = [LOW, "gl", "es"]
STEPS = 4
SETTINGS = OptimizerSettings(1e-3, 0.01, 0.9, 0.999, 1e-8, 0, "none", 1.0)
SCHEDULES = {
    "none": AlphaSchedule(),
    "constant": AlphaSchedule(3.0, 3.0),
    "dynamic": AlphaSchedule(1.0, 1.0, adaptive=True),  # r itself is in force where it is above 1
}


@dataclass(frozen=True)
class Case:
    schedule: str
    workers: int
    accumulation_steps: int
    dtype: torch.dtype = torch.float64
    scope: str = "utterance"
    context: str = "full"
    rank: int = 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step")
    write_tiny_whisper(folder / "model", chunk_length=3)
    write_tiny_corpus(folder / "data", {"gl": 5, "es": 9, "en": 7})
    return folder


def corpus_of(folder: Path, model: torch.nn.Module) -> Corpus:
    data = open_split(folder / "data", "train", LANGUAGES, folder / "cache")
    tokens = {language: language for language in LANGUAGES}
    encoder = LabelEncoder.of(model, load_tokenizer(str(folder / "model")), tokens)
    return Corpus(data, encoder, label_lengths(data, encoder, folder / "cache"))


def batch_of(corpus: Corpus, case: Case, rank: int, step: int = 0) -> StepBatch:
    pools = corpus.pools(LANGUAGES)
    shares = language_shares({name: len(pool) for name, pool in pools.items()})
    sampler = BatchSampler(pools, corpus.utterances.durations, shares, batch_size=8, steps=STEPS, seed=0)
    context = EncoderContext(300, 160, case.context)
    parts = case.accumulation_steps
    loader = Loader(corpus, sampler, rank, case.workers, parts, threads=2, prefetch=1, context=context)
    return next(loader.batches(step))


def gradients(folder: Path, case: Case, rank: int = 0) -> tuple[torch.Tensor, dict[str, float], dict[str, float]]:
    """The flat gradient, the alphas and the losses of the first step."""
    model = load_model(str(folder / "model"))
    if case.rank:
        add_adapter(model, LoraSettings(case.rank, 2 * case.rank, 0.0, ["q_proj", "fc2"]), seed=0)
    model.to(case.dtype)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), case, rank)
    stepper = Stepper(
        model=DistributedDataParallel(UtteranceLosses(model)) if case.workers > 1 else UtteranceLosses(model),
        log_mel=lambda audio, frames: log_mel(audio, frames).to(case.dtype),
        schedules={LOW: SCHEDULES[case.schedule]},
        languages=LANGUAGES,
        steps=STEPS,
        scope=case.scope,
    )
    result = stepper.gradients(batch, step=0).read()
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad and p.grad is not None])
    return flat, result.alphas, result.losses


def _worker(rank: int, port: int, folder: Path, cases: list[Case]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    results = [gradients(folder, case, rank) for case in cases]
    torch.save(results, folder / f"rank-{rank}.pt")
    torch.distributed.destroy_process_group()


TWO_WORKERS = [
    *(Case(schedule, 2, accumulation) for schedule in SCHEDULES for accumulation in (1, 2)),
    Case("dynamic", 2, 2, scope="batch"),
    Case("dynamic", 2, 2, context="batch"),
    Case("constant", 2, 2, torch.float32),
    Case("dynamic", 2, 1, torch.float32),
    Case("dynamic", 2, 2, rank=2),
]


@pytest.fixture(scope="module")
def two_workers(folder: Path) -> list[list[tuple[torch.Tensor, dict[str, float], dict[str, float]]]]:
    """Results of each case, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    corpus_of(folder, load_model(str(folder / "model")))
    mp.spawn(_worker, args=(port, folder, TWO_WORKERS), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("index", range(len(TWO_WORKERS)), ids=str)
def test_two_workers_give_the_gradients_of_one(folder: Path, two_workers: list, index: int) -> None:
    case = TWO_WORKERS[index]
    alone = replace(case, workers=1, accumulation_steps=1)
    expected, alphas, losses = gradients(folder, alone)
    for rank in (0, 1):
        flat, rank_alphas, rank_losses = two_workers[rank][index]
        tolerance = 1e-9 if case.dtype == torch.float64 else 1e-5
        assert (flat - expected).norm() <= tolerance * expected.norm()
        assert rank_alphas == pytest.approx(alphas, rel=tolerance)
        assert rank_losses == pytest.approx(losses, rel=tolerance)
    assert two_workers[0][index][1] == two_workers[1][index][1], "alpha must be equal on all ranks"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("accumulation_steps", [2, 4, 8])
def test_accumulation_gives_the_gradients_of_one_batch(folder: Path, schedule: str, accumulation_steps: int) -> None:
    expected, alphas, losses = gradients(folder, Case(schedule, 1, 1))
    flat, split_alphas, split_losses = gradients(folder, Case(schedule, 1, accumulation_steps))
    assert (flat - expected).norm() <= 1e-9 * expected.norm()
    assert split_alphas == pytest.approx(alphas, rel=1e-9)
    assert split_losses == pytest.approx(losses, rel=1e-9)


def reference_loss(folder: Path, weight: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """By transformers and F.cross_entropy alone: the flat gradient, and each language's mean token loss."""
    model = load_model(str(folder / "model")).double()
    corpus = corpus_of(folder, model)
    (micro_batch,) = batch_of(corpus, Case("none", 1, 1), 0).micro_batches
    features = LogMel.from_checkpoint(str(folder / "model"))(micro_batch.waveforms).double()
    logits = model(input_features=features, decoder_input_ids=decoder_inputs(model, micro_batch.labels)).logits
    tokens = functional.cross_entropy(
        logits.transpose(1, 2), micro_batch.labels, reduction="none", ignore_index=IGNORED
    )
    weights = torch.tensor([weight if name == LOW else 1.0 for name in micro_batch.languages], dtype=torch.float64)
    counted = (micro_batch.labels != IGNORED).sum()
    ((tokens * weights[:, None]).sum() / counted).backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad and p.grad is not None])
    low = torch.tensor([name == LOW for name in micro_batch.languages])
    mask = micro_batch.labels != IGNORED
    means = {"low": tokens[low].sum() / mask[low].sum(), "high": tokens[~low].sum() / mask[~low].sum()}
    return flat, means


@pytest.mark.parametrize(("schedule", "weight"), [("none", 1.0), ("constant", 3.0)])
def test_gradients_are_those_of_cross_entropy(folder: Path, schedule: str, weight: float) -> None:
    expected, _ = reference_loss(folder, weight)
    flat, alphas, _ = gradients(folder, Case(schedule, 1, 1))
    assert (flat - expected).norm() <= 1e-9 * expected.norm()
    assert alphas == {LOW: weight}


def test_the_dynamic_ratio_is_that_of_the_global_batch(folder: Path) -> None:
    _, means = reference_loss(folder, 1.0)
    ratio = (means["low"] / means["high"]).item()
    assert ratio > 1.0
    for accumulation_steps in (1, 4):
        _, alphas, _ = gradients(folder, Case("dynamic", 1, accumulation_steps))
        assert alphas[LOW] == pytest.approx(ratio, rel=1e-9)


@pytest.mark.parametrize("accumulation_steps", [1, 4])
def test_a_dynamic_weight_of_the_batch_scales_the_whole_gradient(folder: Path, accumulation_steps: int) -> None:
    plain, means = reference_loss(folder, 1.0)
    flat, _, _ = gradients(folder, Case("dynamic", 1, accumulation_steps, scope="batch"))
    expected = plain * (means["low"] / means["high"])
    assert (flat - expected).norm() <= 1e-9 * expected.norm()


def test_dropout_is_the_same_in_the_pass_without_gradients(folder: Path) -> None:
    model = load_model(str(folder / "model")).double()
    model.config.dropout = 0.0
    for module in model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.3
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("dynamic", 1, 2), 0)
    stepper = Stepper(
        model=UtteranceLosses(model),
        log_mel=lambda audio, frames: log_mel(audio, frames).double(),
        schedules={LOW: SCHEDULES["dynamic"]},
        languages=LANGUAGES,
        steps=STEPS,
    )
    ahead = stepper.gradients(batch, step=0).read()
    constant = Stepper(**{**vars(stepper), "schedules": {LOW: AlphaSchedule()}})
    assert ahead.losses == constant.gradients(batch, step=0).read().losses
    assert ahead.losses != constant.gradients(batch, step=1).read().losses


def test_a_loss_that_is_not_finite_stops_the_training(folder: Path) -> None:
    model = load_model(str(folder / "model"))
    with torch.no_grad():
        model.model.encoder.conv1.bias.fill_(float("nan"))
    batch = batch_of(corpus_of(folder, model), Case("none", 1, 1), 0)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    stepper = Stepper(UtteranceLosses(model), log_mel, {LOW: AlphaSchedule()}, LANGUAGES, STEPS)
    with pytest.raises(NotFiniteError, match="must be finite"):
        stepper.gradients(batch, 0).read()


def test_update_clips_and_clears() -> None:
    model = torch.nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    update(model, torch.optim.SGD(model.parameters(), lr=1.0, fused=True), max_gradient_norm=1.0)
    torch.testing.assert_close(before - model.weight, torch.tensor([[0.6, 0.0, 0.8]]), rtol=1e-5, atol=1e-6)
    assert model.weight.grad is None


def test_update_without_clipping() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    model.weight.grad = torch.tensor([[50.0]])
    update(model, torch.optim.SGD(model.parameters(), lr=1.0, fused=True), max_gradient_norm=None)
    assert before - model.weight.item() == pytest.approx(50.0)


def test_a_gradient_that_is_not_finite_changes_nothing_and_stops_the_training(folder: Path) -> None:
    model = load_model(str(folder / "model"))
    optimizer = make_optimizer(model, SETTINGS)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    stepper = Stepper(UtteranceLosses(model), log_mel, {LOW: AlphaSchedule()}, LANGUAGES, STEPS)

    def step(broken: bool = False) -> StepResult:
        unread = stepper.gradients(batch_of(corpus_of(folder, model), Case("none", 1, 1), 0), 0)
        if broken:
            model.model.encoder.conv1.weight.grad[0] = torch.inf
        return unread.read(update(model, optimizer, 1.0))

    def state() -> list[torch.Tensor]:
        kept = [value for of in optimizer.state.values() for value in of.values()]
        return [one.detach().clone() for one in (*model.parameters(), *kept)]

    start = state()
    assert step().updated
    before = state()
    assert not torch.equal(start[0], before[0])
    with pytest.raises(NotFiniteError, match="the gradient's norm must be finite"):
        step(broken=True)
    assert all(map(torch.equal, state(), before))
    assert step().updated


def test_the_host_reads_nothing_of_a_gpu_until_it_asks_for_the_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tensors without values, of a GPU that is not there: whatever needs a value fails. Backward is left out."""

    def of_labels(labels: torch.Tensor) -> torch.Tensor:
        with unset_fake_temporarily():  # they are on the CPU
            return counted_positions(labels)

    monkeypatch.setattr("raywce.training.step.counted_positions", of_labels)
    monkeypatch.setattr(torch.Tensor, "backward", lambda _: None)
    model, log_mel = load_model(str(folder / "model")), LogMel.from_checkpoint(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("constant", 1, 2), 0)
    stepper = Stepper(UtteranceLosses(model), log_mel, {LOW: SCHEDULES["constant"]}, LANGUAGES, STEPS)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in (model, log_mel):
            module._apply(lambda one: torch.empty_strided(one.shape, one.stride(), dtype=one.dtype, device="cuda:0"))
        model.tie_weights()
        unread = stepper.gradients(batch, 0)
        assert unread.sums.device.type == "cuda"
        optimizer = make_optimizer(model, SETTINGS)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        norm = update(model, optimizer, 1.0)
        with pytest.raises(DataDependentOutputException):
            unread.read(norm)


def test_bfloat16_autocast_is_near_float32(folder: Path) -> None:
    model = load_model(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("constant", 1, 1), 0)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    losses = {}
    for precision in ("fp32", "bf16"):
        stepper = Stepper(
            UtteranceLosses(model), log_mel, {LOW: AlphaSchedule(2, 2)}, LANGUAGES, STEPS, precision=precision
        )
        losses[precision] = stepper.gradients(batch, 0).read().losses[LOW]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_padding_does_not_change_an_utterance(folder: Path) -> None:
    model = load_model(str(folder / "model")).double().eval()
    labels = pad_labels([[5, 6, 7]])
    wide = pad_labels([[5, 6, 7], [5] * 9])
    features = torch.zeros(1, 80, 300, dtype=torch.float64)
    short = model(input_features=features, decoder_input_ids=decoder_inputs(model, labels)).logits
    long = model(input_features=features.expand(2, -1, -1), decoder_input_ids=decoder_inputs(model, wide)).logits
    torch.testing.assert_close(short[0], long[0, :3])


def test_half_precision_with_a_scaler_gives_the_same_update_but_for_rounding(folder: Path) -> None:
    weights = {}
    for precision in ("fp32", "fp16"):
        model = load_model(str(folder / "model"))
        batch = batch_of(corpus_of(folder, model), Case("constant", 1, 2), 0)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if precision == "fp16" else None
        log_mel = LogMel.from_checkpoint(str(folder / "model"))
        schedules = {LOW: AlphaSchedule(2, 2)}
        stepper = Stepper(
            UtteranceLosses(model), log_mel, schedules, LANGUAGES, STEPS, precision=precision, scaler=scaler
        )
        unread = stepper.gradients(batch, 0)
        assert unread.read(update(model, torch.optim.SGD(model.parameters(), lr=1.0, fused=True), 1.0, scaler)).updated
        weights[precision] = model.proj_out.weight.detach()
    start = load_model(str(folder / "model")).proj_out.weight.detach()
    change = weights["fp32"] - start
    assert change.norm() > 0
    assert (weights["fp16"] - weights["fp32"]).norm() < 0.02 * change.norm()


def test_a_scale_that_is_too_large_leaves_the_update_out_and_is_lowered(folder: Path) -> None:
    model = load_model(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("constant", 1, 1), 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    stepper = Stepper(
        UtteranceLosses(model), log_mel, {LOW: AlphaSchedule()}, LANGUAGES, STEPS, precision="fp16", scaler=scaler
    )
    unread = stepper.gradients(batch, 0)
    before = model.proj_out.weight.detach().clone()
    assert not unread.read(update(model, torch.optim.SGD(model.parameters(), lr=1.0, fused=True), 1.0, scaler)).updated
    assert torch.equal(model.proj_out.weight, before)
    assert scaler.get_scale() == 2.0**39


def test_a_loss_that_overflows_in_half_precision_ends_the_training(folder: Path) -> None:
    model = load_model(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("constant", 1, 1), 0)
    with torch.no_grad():
        model.model.decoder.layer_norm.weight.mul_(1e6)
    log_mel = LogMel.from_checkpoint(str(folder / "model"))
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    stepper = Stepper(
        UtteranceLosses(model), log_mel, {LOW: AlphaSchedule()}, LANGUAGES, STEPS, precision="fp16", scaler=scaler
    )
    with pytest.raises(NotFiniteError, match="the loss must be finite"):
        stepper.gradients(batch, 0).read()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_products_are_rounded_to_tf32_for_tf32_alone_forward_and_backward(folder: Path, precision: str) -> None:
    model = load_model(str(folder / "model"))
    batch = batch_of(corpus_of(folder, model), Case("constant", 1, 2), 0)
    log_mel, seen = LogMel.from_checkpoint(str(folder / "model")), []

    def look(*_: object) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    model.model.encoder.conv1.register_forward_hook(look)
    model.model.encoder.conv1.weight.register_hook(look)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    Stepper(UtteranceLosses(model), log_mel, {LOW: AlphaSchedule()}, LANGUAGES, STEPS, precision=precision).gradients(
        batch, 0
    )
    assert seen == [(precision == "tf32",) * 2] * 4
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_short_context_is_the_same_for_any_split(folder: Path) -> None:
    whole, _, _ = gradients(folder, Case("constant", 1, 1))
    expected, alphas, losses = gradients(folder, Case("dynamic", 1, 1, context="batch"))
    assert (whole - expected).norm() > 1e-3 * expected.norm()
    flat, split_alphas, split_losses = gradients(folder, Case("dynamic", 1, 4, context="batch"))
    assert (flat - expected).norm() <= 1e-9 * expected.norm()
    assert split_alphas == pytest.approx(alphas, rel=1e-9)
    assert split_losses == pytest.approx(losses, rel=1e-9)
