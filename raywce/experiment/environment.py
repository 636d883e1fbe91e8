"""Checks of what the file names elsewhere: speech, recordings, the checkpoint and its languages, the machine."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow.compute as pc

from raywce import assets, whisper_folder
from raywce.errors import Absent, InputError, Problem, one_line
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.checks import can_act
from raywce.experiment.schema import Confirm, Data, Evaluation, Languages, Model, Resources, Search, Sections
from raywce.experiment.space import Space, largest
from raywce.experiment.text import shown
from raywce.storage.files import is_uri
from raywce.storage.node_copy import has_parquet, read_columns, rows_in
from raywce.storage.prepared_folder import UNFINISHED, WINDOW_SLACK_S, is_unfinished, window_rule

MLFLOW_URI = "MLFLOW_TRACKING_URI"
_WSL = Path("/dev/dxg")  # the GPU of Linux on Windows
_MLFLOW = re.compile(r"(https?|sqlite|postgresql|mysql|mssql)(\+\w+)?://.+|databricks(://.+)?")


def missing(sections: Sections, space: Space) -> list[Problem]:
    """Return what is wrong with what the sections name and some draw of the distributions needs.

    What is not on this machine is `Absent`: folders and parts of prepared speech, GPUs and CPUs, packages. What is
    there and is not what the file needs is a `Problem`.
    """
    problems: list[Problem] = []
    queries = list(_queries(sections))
    model, data, languages = (sections.get(name) for name in ("model", "data", "languages"))
    if model:
        problems += [*checkpoint_problems(model.checkpoint, "model.checkpoint"), *lora_problems(model, space)]
    if model and languages and not problems:
        problems += _languages_without_token(model, languages)
    if model and not problems and "evaluation" in sections and "search" in sections:
        problems += _time_stamps(model, data, sections["evaluation"], sections["search"])
    if any(problem.path.startswith("data.") for problem in queries):
        data = None  # nothing can be read there
    if data:
        problems += _speech(data, languages)
    if model and data and languages and not problems:
        problems += _windows(model, data, languages)
    if data and languages and space and "search" in sections:
        problems += _confirmation(data, languages, sections["search"].confirm)
    if "search" in sections:
        problems += _trackers(sections["search"])
    if "augmentation" in sections:
        problems += _recordings(sections["augmentation"], space)
    if "resources" in sections and not cluster_runs():
        problems += _machine(sections["resources"])
    return problems + queries


def notes(sections: Sections) -> list[str]:
    """Return notes on what comes only later."""
    found = ["the demo corpus is generated on first use"] if assets.is_pending(Path(sections["data"].folder)) else []
    if lacking := _lacking(sections["model"]):
        found.append(f"the checkpoint's {whisper_folder.GENERATION} lacks {lacking}: completed from its tokenizer")
    return [*found, "resources are checked on joining the Ray cluster"] if cluster_runs() else found


def _queries(sections: Sections) -> Iterator[Problem]:
    """Yield URIs with a query: what is in a folder behind one can't be named by adding to it."""
    data = sections.get("data")
    places = {"storage": sections.get("storage")}
    if data:
        places |= {
            "data.folder": data.folder,
            **{f"data.extra_test.{name}": one for name, one in data.extra_test.items()},
        }
    for path, place in places.items():
        if place and is_uri(place) and "?" in place:
            yield Problem(path, "must be a URI without a query", place, "Set AWS_ENDPOINT_URL, AWS_REGION and the like")


def _lacking(model: Model) -> str:
    folder = Path(model.checkpoint)
    return ", ".join(whisper_folder.lacking(folder)) if folder.is_dir() else ""


def is_hub_id(checkpoint: str) -> bool:
    """Return whether it can be organisation/name on the Hugging Face Hub: no folder of that name, no sign of a path."""
    signs = checkpoint.startswith((".", "/", "~")) or checkpoint.endswith("/") or checkpoint.count("/") > 1
    return not signs and not Path(checkpoint).exists()


def cluster_runs() -> bool:
    """Return whether RAY_ADDRESS names a Ray cluster or one that was started here answers: then it knows what it has.

    Ray is not imported for it, as that takes seconds.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":
        return named != "local"
    temporary = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))  # Ray's own order
    left_by_ray_start = Path(temporary, "ray", "ray_current_cluster")
    try:
        host, _, port = left_by_ray_start.read_text(encoding="utf-8").strip().rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return False
    return True


def _trackers(search: Search) -> Iterator[Problem]:
    path = "search.trackers"
    for name in ("mlflow", "wandb"):
        if name in search.trackers and find_spec(name) is None:
            do = f"Run pip install 'raywce[{name}]', or leave it out"
            yield Absent(path, f"{name} must be installed to track a search with it", shown(search.trackers), do)
    place = os.environ.get(MLFLOW_URI, "")
    if "mlflow" in search.trackers and not _MLFLOW.fullmatch(place):
        rule = f"mlflow must have a server or a database in {MLFLOW_URI}"
        do = "For instance http://server:5000 or sqlite:////data/mlflow.db; it no longer takes a folder of files"
        yield Absent(path, rule, place or "none", do)


def _recordings(augmentation: Augmentation, space: Space) -> Iterator[Problem]:
    for key, folder in augmentation.folders.items():
        if folder is not None and can_act(augmentation, key, space):
            from raywce.augmentation.recordings import check_recordings

            kind = Problem if Path(folder).is_dir() else Absent
            for found in check_recordings(Path(folder), f"augmentation.{key}.folder").found:
                yield kind(found.path, found.rule, found.got, found.do)


def checkpoint_problems(name: str, path: str) -> Iterator[Problem]:
    """Yield why a folder or Hub id can't be a Whisper to begin with; `path` is the key or argument that names it."""
    rule = "must be a transformers folder that exists, or a Hub id organisation/name"
    if is_hub_id(name):
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(name)
        except HFValidationError:
            yield Problem(path, rule, name)
        if name.endswith(".en"):
            yield Problem(path, "must be multilingual", name, f"Take {name.removesuffix('.en')}")
        return
    folder = Path(name)
    if not folder.is_dir():
        yield (Problem if is_uri(name) else Absent)(path, rule, name)  # no machine has a folder behind a URI
        return
    yield from whisper_folder.problems_of(folder, path)


def lora_problems(model: Model, space: Space) -> Iterator[Problem]:
    """Yield what LoRA needs and is not installed."""
    path = "model.lora.rank"
    rank = largest(path, model.lora.rank, space)
    if rank and find_spec("peft") is None:
        do = "Run pip install 'raywce[lora]', or set it to 0"
        yield Absent(path, "peft must be installed to train with LoRA", f"{rank:g}", do)


def _languages_without_token(model: Model, languages: Languages) -> Iterator[Problem]:
    known = token_languages(model.checkpoint, model.revision)
    for group in ("low_resource", "high_resource", "watched"):
        for index, language in enumerate(getattr(languages, group)):
            if language not in known and language not in languages.language_tokens:
                lent, new = f"{{{language}: es}}", f"{{{language}: {{new_like: es}}}}"
                do = f"Give another's or a new one: languages.language_tokens: {lent} or {new}"
                path = f"languages.{group}[{index}]"
                yield Problem(path, "must be a language that the checkpoint has a token for", language, do)
    for language, lent in {**languages.borrowed_tokens, **languages.new_tokens}.items():
        if lent not in known:
            path = f"languages.language_tokens.{language}"
            yield Problem(path, "must be a language that the checkpoint has a token for", lent)
    for language in languages.new_tokens.keys() & known:
        path = f"languages.language_tokens.{language}"
        yield Problem(path, "must be a language that the checkpoint has no token for yet", language, "Leave it out")


def _time_stamps(model: Model, data: Data | None, evaluation: Evaluation, search: Search) -> Iterator[Problem]:
    if is_hub_id(model.checkpoint) or whisper_folder.has_time_stamps(Path(model.checkpoint)):
        return
    why = "as the checkpoint has no time stamps"
    if data and data.timestamps:
        yield Problem("data.timestamps", f"must be 0, {why}", f"{data.timestamps:g}")
    if evaluation.timestamps:
        yield Problem("evaluation.timestamps", f"must be false, {why}", "true")
    limit = search.constraints.robustness.long_form
    if limit is not None:  # long speech is decoded by them
        yield Problem("search.constraints.robustness.long_form", f"must be null, {why}", f"{limit:g}")


def token_languages(checkpoint: str, revision: str | None = None) -> set[str]:
    """Return the codes of the languages with a token: a checkpoint's own; before it is downloaded, Whisper's."""
    if not is_hub_id(checkpoint):
        return {token.strip("<|>") for token in whisper_folder.language_ids(Path(checkpoint))}
    from huggingface_hub import try_to_load_from_cache
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    cached = try_to_load_from_cache(checkpoint, whisper_folder.GENERATION, revision=revision)
    if isinstance(cached, str):
        return {token.strip("<|>") for token in whisper_folder.language_ids(Path(cached).parent)}
    return set(LANGUAGES) - (set() if "large-v3" in checkpoint else {"yue"})  # which came with large-v3


def _speech(data: Data, languages: Languages | None) -> Iterator[Problem]:
    folder = data.folder
    if not is_uri(folder) and assets.is_pending(Path(folder)):
        yield from assets.generation_problems(languages.decoded if languages else [])
        return
    if not (is_uri(folder) or Path(folder).is_dir()):
        yield Absent("data.folder", "must be a folder that raywce prepare wrote", folder)
        return
    yield from _unfinished("data.folder", folder)
    for part in dict.fromkeys(languages.parts if languages else []):
        do = f"Prepare {part.partition('/')[2]}, or take it out of languages"
        yield from _part("data.folder", folder, part, do)


def _windows(model: Model, data: Data, languages: Languages) -> Iterator[Problem]:
    """Yield which parts of dev hold longer speech than a model with a short window takes; prepare has 30 s at most."""
    checkpoint, folder = Path(model.checkpoint), data.folder
    if is_uri(folder) or not (checkpoint.is_dir() and Path(folder).is_dir()) or assets.is_pending(Path(folder)):
        return
    window = whisper_folder.window_seconds(checkpoint)
    if window >= whisper_folder.WINDOW_SECONDS:
        return
    for language in dict.fromkeys(languages.decoded):
        part = f"dev/{language}"
        longest = _longest(folder, part)
        if longest > window + WINDOW_SLACK_S:
            rule, do = window_rule(part, window)
            yield Problem("data.folder", rule, f"{longest:.2f} s", do)


def _longest(folder: str, part: str) -> float:
    """Return the seconds of the longest utterance; 0 where they can't be read, which is said when they are opened."""
    try:
        return float(pc.max(read_columns(folder, [part], ["duration"])["duration"]).as_py() or 0)
    except (InputError, OSError, KeyError):
        return 0.0


def _unfinished(path: str, folder: str) -> Iterator[Problem]:
    try:
        if is_unfinished(folder):
            rule, do = UNFINISHED
            yield Problem(path, rule, folder, do)
    except OSError:  # what can't be read is said of its parts
        return


def _part(path: str, folder: str, part: str, do: str) -> Iterator[Problem]:
    lacks = Problem if is_uri(folder) else Absent  # another machine may have more of a folder, but not of a URI
    try:
        if not has_parquet(folder, part):
            yield lacks(path, f"must hold {part}/*.parquet", folder, do)
    except OSError as error:
        yield Absent(path, "must be readable", f"{folder} ({one_line(error)})")


def _confirmation(data: Data, languages: Languages, confirm: Confirm) -> Iterator[Problem]:
    """Yield what dev lacks for both of its parts, and what the test splits lack that the confirm phase opens."""
    tested, wanted = bool(confirm.candidates) and confirm.test, list(dict.fromkeys(languages.decoded))
    is_there = is_uri(data.folder) or (Path(data.folder).is_dir() and not assets.is_pending(Path(data.folder)))
    for language in wanted if confirm.candidates and is_there else ():
        yield from _both_parts_of_dev(data.folder, language)
    for name, extra in data.extra_test.items():
        path = f"data.extra_test.{name}"
        yield from _unfinished(path, extra)
        lacking = [problem for language in wanted for problem in _part(path, extra, f"test/{language}", "")]
        if len(lacking) == len(wanted):  # it may lack some languages, but not all
            rule = "must be a prepared folder with test/<language>/*.parquet of a language of the experiment"
            kind = Absent if any(isinstance(one, Absent) for one in lacking) else Problem
            yield kind(path, rule, extra)
        if not tested:
            rule = "must have a search that opens test splits (search.confirm.candidates above 0, test: true)"
            yield Problem(path, rule, extra, "Leave it out, or confirm")
    for language in dict.fromkeys(languages.all) if tested and is_there else ():
        do = f"Prepare {language}, or set search.confirm.test: false"
        yield from _part("data.folder", data.folder, f"test/{language}", do)


def _both_parts_of_dev(folder: str, language: str) -> Iterator[Problem]:
    part = f"dev/{language}"
    try:
        there, count = has_parquet(folder, part), rows_in(folder, [part])
    except InputError as error:
        yield from error.problems
        return
    except OSError:  # said of the split as such already
        return
    if there and count < 2:
        rule = f"must hold at least 2 utterances in {part}: one for the search, one for its confirm phase"
        yield Problem("data.folder", rule, str(count), "Prepare more, or set search.confirm.candidates: 0")


def _machine(resources: Resources) -> Iterator[Problem]:
    from loky import cpu_count

    has = {"cpus_per_worker": (cpu_count(), "CPU"), "gpus_per_worker": (_gpus(), "GPU")}
    for name, (count, unit) in has.items():
        needed = resources.workers * getattr(resources, name)
        if needed > count:
            rule = f"must fit the {unit}s of this machine ({count}), as no Ray cluster is named or runs here"
            got = f"{resources.workers} x {getattr(resources, name):g} = {needed:g}"
            lower = f"resources.{name}{' or resources.workers' if resources.workers > 1 else ''}"
            yield Absent(f"resources.{name}", rule, got, f"Lower {lower}, or set RAY_ADDRESS")


def _gpus() -> int:
    """Return the number of CUDA devices that a process here may use; torch, which takes seconds, is not loaded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1", "NoDevFiles")])
    if _WSL.exists():  # Windows' driver lists its GPUs elsewhere
        import torch

        return torch.cuda.device_count()
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
