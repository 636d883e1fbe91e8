"""The demo corpus in the cache: generated once, when it is first used."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from raywce.assets import MAX_SECONDS, SEED, is_pending


def provide_speech(folder: Path) -> None:
    """Generate the demo corpus where `folder` is its own and not there yet; other folders are left alone.

    One process generates, others wait for it. The folder gets its name only when it is whole.

    Raises:
        InputError: espeakng-loader is not installed.
    """
    if not is_pending(folder):
        return
    from loky import cpu_count

    from raywce.demo.corpus import prepare_corpus

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "lock"):
        if not is_pending(folder):
            return
        for left_by_a_killed_process in folder.parent.glob("*.partial"):
            shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
        _say("generating the demo corpus, spoken by espeak-ng: about a minute, once")
        start = time.monotonic()
        with TemporaryDirectory(".partial", f"{folder.name}-", folder.parent) as work:
            speech = Path(work, "speech")
            prepared = prepare_corpus(speech, seed=SEED, max_seconds=MAX_SECONDS, jobs=cpu_count())
            speech.rename(folder)
        _say(f"generated {prepared.utterances} utterances in {time.monotonic() - start:.0f} s: {folder}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
