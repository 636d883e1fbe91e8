"""Preparing speech of many forms as parquet: finds tables, plans rows, writes shards, counts what came out."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from raywce.data.prepare.cells import cut, readable
from raywce.data.prepare.forms import FindOptions, Format
from raywce.data.prepare.languages import is_code, map_key, read_language
from raywce.data.prepare.rows import CLEAN_UPS, RowOptions, read_rows
from raywce.data.prepare.shards import ShardOptions, Workers, load_label_limit, read_result
from raywce.data.prepare.sources import Found, as_problems, audio_files, find_tables
from raywce.data.prepare.splits import split_of
from raywce.data.prepare.summary import Group, Notes, Outcome, Prepared, Reject, summarise, write_rejects
from raywce.data.prepare.writer import GroupWriter, Plan, Progress
from raywce.data.schema import MAX_SECONDS, SPLITS
from raywce.errors import InputError, Problem, Problems, fail
from raywce.storage.files import replaced
from raywce.storage.prepared_folder import PREPARED, REJECTED, WORK
from raywce.valid_json import as_json

_LAYOUT = 2  # changes with the form of the output


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `prepare`; see `raywce prepare --help`.

    Attributes:
        sources: folders, files or Hub ids.
        out: the output folder.
        form: what the sources are.
        config: the configuration of a Hub dataset.
        revision: its revision.
        rows: how rows are read.
        tokenizer: a Whisper folder or Hub id; with it, transcripts beyond its label limit are rejected.
        cap: at most so many train utterances of each language.
        cap_to: the language whose kept train utterances are the cap of all others.
        seed: fixes which rows a cap takes.
        max_seconds: longer audio is rejected.
        reject_silent: whether wholly silent and heavily clipped audio is rejected.
        jobs: worker processes.
        overwrite: whether an output with other settings is removed first.
    """

    sources: tuple[str, ...]
    out: Path
    form: Format = Format.AUTO
    config: str | None = None
    revision: str | None = None
    rows: RowOptions = field(default_factory=RowOptions)
    tokenizer: str | None = None
    cap: int | None = None
    cap_to: str | None = None
    seed: int = 0
    max_seconds: float = MAX_SECONDS
    reject_silent: bool = False
    jobs: int = 1
    overwrite: bool = False

    def check(self) -> PrepareOptions:
        """Return the options with language and split in their own spelling, or raise an `InputError`."""
        problems = Problems()
        rows, split = self.rows, split_of(self.rows.split)
        mapping = {map_key(written): code for written, code in rows.language_map.items()}
        language, cap_to = (read_language(text or "", mapping) for text in (rows.language, self.cap_to))
        if not self.sources:
            problems.add("SOURCE", "at least one is needed")
        for source in filter(self._is_in_output, self.sources):  # --overwrite would delete it
            problems.add("SOURCE", "must not be in the folder of --out", source, "Write into another folder.")
        if rows.language and not language:
            problems.add("--language", "must be a language code or name", rows.language)
        if rows.split and not split:
            problems.add("--split", f"must be one of {', '.join(SPLITS)}", rows.split)
        for name in set(rows.clean_ups) - set(CLEAN_UPS):
            problems.add("--clean-up", f"must be one of {', '.join(CLEAN_UPS)}", name)
        if self.cap is not None and self.cap < 1:
            problems.add("--cap", "must be at least 1", self.cap)
        if self.cap is not None and self.cap_to is not None:
            problems.add("--cap", "can't go with --cap-to", do="Give one of them.")
        if self.cap_to and not cap_to:
            problems.add("--cap-to", "must be a language code or name", self.cap_to)
        if not 0 < self.max_seconds <= MAX_SECONDS:
            problems.add("--max-seconds", f"must be above 0 and at most {MAX_SECONDS:g}", self.max_seconds)
        if self.jobs < 1:
            problems.add("--jobs", "must be at least 1", self.jobs)
        for written, code in rows.language_map.items():
            if not is_code(code):
                problems.add("--language-map", "must map to a language's code", f"{written}={code}")
        problems.raise_any()
        rows = replace(rows, language=language and language.code, split=split, language_map=mapping)
        return replace(self, rows=rows, cap_to=cap_to and cap_to.code)

    def _is_in_output(self, source: str) -> bool:
        place = Path(source).resolve()
        return place.exists() and self.out.resolve() in (place, *place.parents)

    def find(self) -> FindOptions:
        """Return the options for finding tables."""
        rows, skip = self.rows, self.out.resolve()
        return FindOptions(
            self.form, self.config, self.revision, skip, rows.split, rows.text_columns, rows.language_map
        )

    def settings(self) -> dict[str, object]:
        """Return what the output depends on: all but its place and the number of workers."""
        chosen = asdict(self) | {"layout": _LAYOUT}
        chosen["sources"] = [readable(str(Path(s).resolve())) if Path(s).exists() else s for s in self.sources]
        left = {name: value for name, value in chosen.items() if name not in ("out", "jobs", "overwrite")}
        return dict(json.loads(json.dumps(left)))


def run(options: PrepareOptions, progress: Progress = lambda *_: None) -> Prepared:
    """Prepare speech; what an earlier, interrupted run with the same settings has finished is kept.

    The output is `<split>/<language>/00000.parquet …` with the columns of `raywce.data.schema.UTTERANCES`, its content
    independent of `jobs`; `rejected.parquet`, a row for each row left out; and `prepared.json`, the result returned.

    Raises:
        InputError: options or sources can't be used, the output holds something else, or nothing was kept.
    """
    options = options.check()
    found = find_tables(list(options.sources), options.find())
    with _output(options.out, options.settings(), options.overwrite) as work:
        tokenizer = options.tokenizer
        limit = load_label_limit(tokenizer, work / "tokenizer.json") if tokenizer else None
        shard_options = ShardOptions(options.max_seconds, limit, options.reject_silent)
        with closing(Plan(work / "plan.sqlite", options.seed)) as plan:
            notes = _scan(found, options, plan, progress)
            writer = GroupWriter(options.out, plan, options.cap, options.cap_to, shard_options, progress)
            with closing(Workers(options.jobs)) as workers:
                outcomes = writer.write_all(workers)
            return _finish(options, plan, outcomes, writer.records, notes)


def _scan(found: Found, options: PrepareOptions, plan: Plan, progress: Progress) -> Notes:
    """Put every row of every table into the plan; note what the rows don't say, audio without a row among it."""
    notes = Notes(passed_over=found.passed_over)
    for table in found.tables:
        prefix = None if table.clip_ids else readable(str(Path(table.prefix, table.path.name)))
        for row in read_rows(table, options.rows):
            plan.add(row.item, prefix)
            if row.audio:
                plan.add_audio(row.audio)
            if row.language:
                notes.languages[row.language] += 1
            if row.unread_language:
                notes.unread_languages[cut(row.unread_language)] += 1
            if row.unread_split:
                notes.unread_splits[cut(row.unread_split)] += 1
            notes.unbalanced_quotes += row.unbalanced_quote
            if plan.rows_read % 1000 == 0:
                progress("rows read", plan.rows_read, 0)
    if plan.rows_read == 0:
        fail("SOURCE", "must hold at least one row", f"{len(found.tables)} empty tables")
    for folder, name in audio_files(found, options.out.resolve()):
        if not plan.names_audio(str(folder / name)):
            notes.passed_over.add(folder, name, "audio that no row of a table names")
    return notes


def _finish(
    options: PrepareOptions, plan: Plan, outcomes: dict[Group, Outcome], records: set[Path], notes: Notes
) -> Prepared:
    """Tidy up, list the rejects, count; `prepared.json` comes last, so that it stands for a whole output."""
    _remove_strangers(options.out, records)
    write_rejects(options.out / REJECTED, _rejects(plan, records))
    settings = options.settings()
    rejects, recordings = _rejects(plan, records), partial(_recordings, options.out)
    prepared = summarise(options.out, outcomes, rejects, plan.rows_read, notes, settings, recordings)
    if prepared.utterances == 0:
        reasons = Counter(reject.reason for reject in _rejects(plan, records))
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        first = next(_rejects(plan, records))
        do = f"See {options.out / REJECTED}; the first, {first.source}: {(first.detail or first.reason).rstrip('.')}."
        nothing = Problem("SOURCE", "must hold a row that can be kept", counts, do)
        raise InputError([nothing, *as_problems(notes.passed_over)])
    _write_json(options.out / PREPARED, asdict(prepared))
    return prepared


def _rejects(plan: Plan, records: set[Path]) -> Iterator[Reject]:
    yield from plan.rejects()
    for record in sorted(records):
        result = read_result(record)
        yield from result.rejects if result else ()


def _recordings(out: Path, group: Group) -> Iterator[str]:
    for record in sorted((out / WORK / group.split / group.language).glob("*.json")):
        result = read_result(record)
        yield from result.audio if result else ()


@contextmanager
def _output(out: Path, settings: Mapping[str, object], overwrite: bool) -> Iterator[Path]:
    """Claim `out` for these settings and give its work folder; half-written files are removed at the end in any case.

    Raises:
        InputError: `out` holds something else, was prepared with other settings, or another run writes into it.
    """
    if out.exists() and not out.is_dir():
        fail("--out", "must be a folder", out)
    if out.is_dir() and any(out.iterdir()) and not (out / WORK).is_dir():
        fail("--out", "must be new, empty or written by prepare", out, "Choose another folder.")
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            _claim(out, settings, overwrite)
            try:
                yield work
            finally:
                _remove(out.rglob(".*.partial"))
    except Timeout:
        fail("--out", "must not be in use by another prepare", out)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    """Replace a JSON file once its content is written."""
    with replaced(path) as partial:
        partial.write_text(as_json(content), encoding="utf-8")


def _remove_strangers(out: Path, records: set[Path]) -> None:
    """Remove shards that these records don't stand for: left by a run over rows that are gone."""
    for split in SPLITS:
        _remove(file for file in (out / split).glob("*/*.parquet") if _record(out, file) not in records)
        _remove(file for file in (out / WORK / split).glob("*/*.json") if file not in records)
        for parent in (out / split, out / WORK / split):
            for folder in [*parent.glob("*"), parent]:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _record(out: Path, file: Path) -> Path:
    return out / WORK / file.relative_to(out).with_suffix(".json")


def _claim(out: Path, settings: Mapping[str, object], overwrite: bool) -> None:
    file, do = out / WORK / "settings.json", "Choose another folder, or start again with --overwrite."
    try:
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() and not overwrite else settings
    except ValueError as error:
        fail(str(file), "must be as prepare wrote it", error, do)
    if overwrite:
        for split in SPLITS:
            shutil.rmtree(out / split, ignore_errors=True)
            shutil.rmtree(out / WORK / split, ignore_errors=True)
    elif before != settings:
        changed = ", ".join(name for name in settings if settings[name] != before.get(name))
        fail("--out", "must have been prepared with the same settings", f"other {changed} in {out}", do)
    _remove([out / PREPARED, out / REJECTED])
    _write_json(file, settings)


def _remove(files: Iterable[Path]) -> None:
    for file in list(files):
        file.unlink(missing_ok=True)
