"""Peak memory and time of the loss against F.cross_entropy on float32 logits; run with -m benchmark -s."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
B, L, D, V = 16, 200, 512, 51_865
SCRIPT = f"""
import re, sys, threading, time
from pathlib import Path
import torch
from raywce.loss import counted_positions, utterance_losses

def own_memory():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

peak, done = 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, own_memory())

generator = torch.Generator().manual_seed(0)
hidden = torch.randn({B}, {L}, {D}, generator=generator).requires_grad_()
vocabulary = torch.nn.Parameter(0.05 * torch.randn({V}, {D}, generator=generator))
vocabulary.grad = torch.zeros_like(vocabulary)
labels = torch.randint(0, {V}, ({B}, {L}), generator=generator)
before = own_memory()
watcher = threading.Thread(target=watch)
watcher.start()
start = time.process_time()
with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[2] == "bf16"):
    if sys.argv[1] == "own":
        loss = utterance_losses(hidden, vocabulary, labels, counted_positions(labels)).sum()
    else:
        logits = torch.nn.functional.linear(hidden, vocabulary)
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="sum")
loss.backward()
took = time.process_time() - start
done.set()
watcher.join()
print((peak - before) / 1024, took, loss.item())
"""


def measure(way: str, precision: str) -> tuple[float, float, float]:
    """Peak MiB above what was there before, processor seconds, and the loss."""
    arguments = [sys.executable, "-c", SCRIPT, way, precision]
    printed = subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    memory, seconds, loss = map(float, printed.split())
    return memory, seconds, loss


@pytest.mark.benchmark
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_takes_a_third_of_the_memory_at_most(precision: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("RssAnon is known on Linux only")
    own, plain = measure("own", precision), measure("F.cross_entropy", precision)
    print(f"\nloss at B {B}, L {L}, D {D}, V {V}, {precision}, forward and backward:", end=" ")
    print(f"{own[0]:.0f} MiB in chunks, {plain[0]:.0f} MiB by F.cross_entropy, ratio {plain[0] / own[0]:.2f};", end=" ")
    print(f"{own[1]:.1f} and {plain[1]:.1f} s of the processor")
    assert own[2] == pytest.approx(plain[2], rel=1e-5 if precision == "fp32" else 1e-2)
    assert plain[0] >= 3 * own[0]
