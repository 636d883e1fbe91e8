"""A worker's data path in a process of its own: opens a corpus, iterates over it, prints its own peak memory in kB.

python -m tests.benchmarks.read_corpus CHECKPOINT FOLDER CACHE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import label_lengths, open_split
from raywce.model import load_model, load_tokenizer

LANGUAGES = ["gl", "es"]
BATCH_SIZE, STEPS = 8, 400


def own_memory() -> int:
    """kB of memory that is this process' own; resident memory would count the mapped corpus."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def main(checkpoint: str, folder: str, cache: str) -> None:
    """Read as a worker does."""
    model = load_model(checkpoint)
    encoder = LabelEncoder.of(model, load_tokenizer(checkpoint), {name: name for name in LANGUAGES})
    utterances = open_split(Path(folder), "train", LANGUAGES, Path(cache))
    corpus = Corpus(utterances, encoder, label_lengths(utterances, encoder, Path(cache)))
    pools = corpus.pools(LANGUAGES)
    shares = language_shares({name: len(pool) for name, pool in pools.items()})
    sampler = BatchSampler(pools, utterances.durations, shares, batch_size=BATCH_SIZE, steps=STEPS, seed=0)
    peak = own_memory()
    for _ in Loader(corpus, sampler, 0, 1, accumulation_steps=1, threads=2, prefetch=4).batches(0):
        peak = max(peak, own_memory())
    print(peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
