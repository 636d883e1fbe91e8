"""What averages of the weights of fine-tunings bring on test, beside the single models.

python -m tests.benchmarks.averages EXPERIMENT.yaml --candidate 'weighting={kind: constant, alpha: 2}' --out FOLDER

Baseline and candidate are trained over the same seeds. Whatever is chosen (the share of an interpolation, the members
of a greedy average over the trials of a search) is chosen on the part of dev that a search sees, and reported on test.
FOLDER keeps trainings and decoded tables: a second run repeats none of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import sub
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raywce import numbers
from raywce.data.dev_split import in_part
from raywce.data.store import ROWS_A_CHUNK, language_files
from raywce.demo.generate import provide_speech
from raywce.errors import InputError, fail
from raywce.evaluation.confidence import Estimate, Rates, Speech, over_speech
from raywce.evaluation.evaluate import Evaluation, evaluate
from raywce.evaluation.metric import Metrics
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.rates import rates_by_language
from raywce.experiment.load import load
from raywce.experiment.schema import Experiment
from raywce.export import average as averaging
from raywce.runs.folder import RunFolder, checkpoint_name
from raywce.runs.recorded import recorded
from raywce.runs.tables import rows_in
from raywce.search.checkpoints import best_trials
from raywce.selection.comparison import Interval
from raywce.selection.limits import Limit, limits, mean_wers, reference_wers, violations, worst
from raywce.selection.objective import Objective
from raywce.selection.trials import BASELINE, COMPLETE, ORIGINAL, SEARCH, Row
from raywce.storage.files import exists, read_table, replaced, write_table
from raywce.storage.node_copy import on_node
from raywce.valid_json import as_json

FIRST_SEED = 1001  # trainings that no search has seen
SHARES = (0.25, 0.5, 0.75)  # of the candidate
CONFIDENCE = 0.95
PLAIN = ["weighting={kind: none}", "augmentation={}"]
CANDIDATE = "candidate"
OVER = ("speech", "speech and seeds")

Mix = Mapping[str, float]
"""Models whose weights are averaged, by name, with their shares; one alone is itself."""


def even(names: Sequence[str]) -> Mix:
    """The same share of each."""
    return {name: 1 / len(names) for name in names}


def alone(names: Sequence[str]) -> list[Mix]:
    """Each by itself."""
    return [{name: 1.0} for name in names]


@dataclass(frozen=True)
class Models:
    """Models of one experiment and what they and their averages decode; averages live as long as they are decoded.

    Attributes:
        places: checkpoint of each model but the original.
        folder: for decoded tables, and for the part of dev.
    """

    experiment: Experiment
    places: Mapping[str, str]
    folder: Path

    def check(self) -> None:
        """Raise an `InputError` where they can't be averaged."""
        if found := averaging.problems([averaging.find_model(place) for place in self.places.values()]):
            raise InputError(found)

    @property
    def metrics(self) -> Metrics:
        return replace(self.experiment.metrics, capped=True)

    def table(self, split: Literal["dev", "test"], mix: Mix) -> pa.Table:
        """What a mix decodes of a split; of dev, the part that a search sees."""
        (name, *others) = mix
        if others:
            text = json.dumps(sorted(mix.items()))
            name = f"average-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        file = self.folder / split / f"{name}.parquet"
        if not file.exists():
            print(f"decoding {split} by {mix}", file=sys.stderr)
            write_table(str(file), self._decoded(split, mix))
        return read_table(str(file))

    def wers(self, mixes: Sequence[Mix]) -> dict[str, float]:
        """Mean WERs on the part of dev."""
        tables = [rates_by_language(self.table("dev", mix)) for mix in mixes]
        fields = {of: self.metrics.of(of).field for of in self.metrics.languages}
        return mean_wers([{of: getattr(one, fields[of]) for of, one in rates.items()} for rates in tables])

    def limits(self, baselines: Sequence[str]) -> dict[str, Limit]:
        """Limits on the part of dev."""
        rules, high = self.experiment.search.constraints, self.experiment.limited_languages
        baseline = self.wers(alone(baselines))
        return limits(rules, reference_wers(rules, high, baseline, self.wers(alone([ORIGINAL]))))

    def order(self, wers: Mapping[str, float], bounds: Mapping[str, Limit]) -> tuple[float, float]:
        """What is lower for the better of two: points beyond the limits, then the low-resource WER."""
        most = worst(violations(wers, bounds))
        return max(most[1], 0.0) if most else 0.0, Objective.of(self.experiment, {}).value(wers)

    def _decoded(self, split: Literal["dev", "test"], mix: Mix) -> pa.Table:
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder) as work:
            if len(mix) > 1:
                model = str(Path(work, "average"))
                averaging.average([averaging.find_model(self.places[of]) for of in mix], Path(model), [*mix.values()])
            else:
                (name,) = mix
                model = self.experiment.model.checkpoint if name == ORIGINAL else self.places[name]
            data, experiment = self._data(split), self.experiment
            of_hub = experiment.model.revision if ORIGINAL in mix else None
            languages = tuple(name for name in experiment.languages.decoded if language_files(data, split, name))
            cache = Path(experiment.data.cache).expanduser()
            settings = experiment.decode_settings
            return evaluate(Evaluation(model, str(data), split, languages, cache, settings, of_hub))

    def _data(self, split: str) -> Path:
        """The folder of prepared speech; of dev, one that holds the search's part."""
        data, cache = self.experiment.data, Path(self.experiment.data.cache).expanduser()
        provide_speech(Path(data.folder))
        languages = self.experiment.languages.decoded
        whole = on_node(data.folder, cache, [f"{split}/{language}" for language in languages])
        if split != "dev":
            return whole
        part, share = self.folder / "search_part", self.experiment.search.confirm.dev_share
        for language in languages:
            file = part / "dev" / language / "part.parquet"
            if not file.exists():
                table = pa.concat_tables(map(pq.read_table, language_files(whole, "dev", language)))
                own = in_part("search", share, table["id"].to_pylist(), table["speaker"].to_pylist())
                mask = np.isin(np.arange(len(table)), own)
                file.parent.mkdir(parents=True, exist_ok=True)
                with replaced(file) as partial:
                    pq.write_table(table.filter(pa.array(mask)), partial, row_group_size=ROWS_A_CHUNK)
        return part


@dataclass
class Section:
    """Rows of a table, each of a mix for each seed, and what each is compared with.

    Attributes:
        chosen: how the choices were made on dev.
    """

    title: str
    models: Models
    rows: dict[str, list[Mix]]
    pairs: list[tuple[str, str]]
    chosen: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Capped WERs on test by row and language, and differences with two intervals: over speech, and seeds too."""
        experiment = self.models.experiment
        tables = {name: [self.models.table("test", mix) for mix in mixes] for name, mixes in self.rows.items()}
        flat = [table for of_row in tables.values() for table in of_row]
        wer: dict[str, dict[str, float]] = {name: {} for name in tables}
        differences: list[dict[str, Any]] = [{"row": row, "against": of, "wer": {}} for row, of in self.pairs]
        present = set(flat[0]["language"].to_pylist())
        for language in [name for name in experiment.languages.decoded if name in present]:
            paired = paired_errors(flat, language, self.models.metrics.of(language))
            speech = Speech(paired.words, paired.speakers, experiment.search.confirm.resamples, experiment.search.seed)
            rates, start, of = speech.rates(paired.errors), 0, {}
            for name, of_row in tables.items():
                of[name] = rates[start : start + len(of_row)]
                start += len(of_row)
                wer[name][language] = float(of[name].observed.mean())
            for one in differences:
                one["wer"][language] = _intervals(_difference(of[one["row"]], of[one["against"]]))
        return {"title": self.title, "chosen_on_dev": self.chosen, "wer": wer, "differences": differences}


def _difference(one: Rates, other: Rates) -> Estimate:
    """Of two rows, paired by seed; an average of seeds is one model beside each of them."""
    by_seed, of_speech = one.observed - other.observed, over_speech(sub, one, other)
    seeds = len(by_seed)
    of_seeds = np.asarray(by_seed.var(ddof=1) / seeds if seeds > 1 else 0.0)
    return Estimate(of_speech.value, of_speech.variance, of_speech.df, of_seeds, seeds - 1)


def _intervals(both: Estimate) -> dict[str, Interval]:
    of_speech = replace(both, seed_variance=np.zeros_like(both.value))
    return {
        name: Interval(float(one.value), *(float(end) for end in one.interval(CONFIDENCE)))
        for name, one in zip(OVER, (of_speech, both), strict=True)
    }


def trained(file: Path, storage: Path, name: str, changes: Sequence[str]) -> str:
    """The model of a training; one that is finished ends at once, one of other settings is refused."""
    command = [sys.executable, "-m", "raywce", "train", str(file), *changes, f"name={name}", f"storage={storage}"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return str(storage / name / "model")


def over_seeds(file: Path, candidate: Sequence[str], count: int, out: Path, overrides: Sequence[str]) -> Section:
    """Averages over seeds, and interpolations between candidate and baseline of the same seed."""
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    kinds = {BASELINE: PLAIN, CANDIDATE: candidate}
    for changes in kinds.values():  # before anything is trained
        load(file, [*overrides, *changes]).concrete()
    places = {
        f"{kind}-{seed}": trained(file, out / "runs", f"{kind}-{seed}", [*overrides, *changes, f"training.seed={seed}"])
        for kind, changes in kinds.items()
        for seed in seeds
    }
    models = Models(load(file, [*overrides, *PLAIN]).concrete(), places, out / "seeds")
    models.check()
    baselines, candidates = ([f"{kind}-{seed}" for seed in seeds] for kind in kinds)
    bounds = models.limits(baselines)
    shares: dict[float, list[Mix]] = {
        share: [{one: share, other: 1 - share} for one, other in zip(candidates, baselines, strict=True)]
        for share in SHARES
    }
    wers = {share: models.wers(mixes) for share, mixes in shares.items()}
    best = min(SHARES, key=lambda share: models.order(wers[share], bounds))
    everything, interpolation = [*baselines, *candidates], f"interpolation, {best:g} of the candidate"
    single = {name: models.wers([even([name])]) for name in everything}
    kept, steps = greedy(models, sorted(everything, key=lambda name: models.order(single[name], bounds)), bounds)
    rows: dict[str, list[Mix]] = {
        ORIGINAL: alone([ORIGINAL]),
        BASELINE: alone(baselines),
        CANDIDATE: alone(candidates),
        "both": alone(everything),
        "average of baseline": [even(baselines)],
        "average of candidate": [even(candidates)],
        "average of both": [even(everything)],
        "greedy average": [even(kept)],
        interpolation: shares[best],
    }
    pairs = [(f"average of {name}", name) for name in (BASELINE, CANDIDATE, "both")]
    pairs += [(interpolation, CANDIDATE)]
    pairs += [("greedy average", "average of baseline")]
    against_baseline = (CANDIDATE, "average of candidate", "average of both", "greedy average", interpolation)
    pairs += [(name, BASELINE) for name in against_baseline]
    title = f"{count} seeds; baseline, candidate and both are means of the single models"
    return Section(title, models, rows, pairs, {"share": best, "dev": wers, "members": kept, "steps": steps})


def of_search(run: str, out: Path) -> Section:
    """The greedy average over a search's feasible trials, beside the best of them."""
    folder = RunFolder.at(run)
    file = recorded(folder)
    last = [row for row in rows_in(folder, file.space) if row["state"] == COMPLETE and row["final"]]
    trials = [row for row in last if row["phase"] == SEARCH and row["feasible"]]
    if not trials:
        fail("--search", "must have a feasible trial", f"none in {folder.uri}")
    baselines = [row for row in last if row["phase"] == BASELINE]
    places = {row["trial_id"]: _checkpoint(folder, row) for row in (*trials, *baselines)}
    models = Models(file.experiment, places, out / f"search-{folder.uri.rpartition('/')[2]}")
    models.check()
    names = best_trials(trials, len(trials))
    bounds = models.limits([row["trial_id"] for row in baselines])
    kept, steps = greedy(models, names, bounds)
    rows: dict[str, list[Mix]] = {
        ORIGINAL: alone([ORIGINAL]),
        BASELINE: alone([row["trial_id"] for row in baselines]),
        "best trial": alone(names[:1]),
        "greedy average": [even(kept)],
        "average of all feasible": [even(names)],
    }
    pairs = [(name, "best trial") for name in ("greedy average", "average of all feasible")]
    pairs += [(name, BASELINE) for name in ("best trial", "greedy average")]
    title = f"search: {len(kept)} of {len(names)} feasible trials in the greedy average"
    return Section(title, models, rows, pairs, {"members": kept, "steps": steps})


def greedy(models: Models, names: Sequence[str], bounds: Mapping[str, Limit]) -> tuple[list[str], list[dict[str, Any]]]:
    """Members of a greedy average, best first: each is kept where dev says so under the limits; and what dev said."""
    kept, steps = [*names[:1]], []
    lowest = models.order(models.wers([even(kept)]), bounds)
    for name in names[1:]:
        wers = models.wers([even([*kept, name])])
        beyond, low = models.order(wers, bounds)
        steps.append({"trial": name, "dev": wers, "kept": beyond == 0 and low < lowest[1]})
        if steps[-1]["kept"]:
            kept, lowest = [*kept, name], (beyond, low)
    return kept, steps


def _checkpoint(folder: RunFolder, row: Row) -> str:
    place = folder.path("trials", row["trial_id"], checkpoint_name(row["step"]))
    if not exists(place):
        fail("--search", "must have kept all models: search.keep_models as many as trials", f"nothing at {place}")
    return place


def markdown(figures: Mapping[str, Any], label: str) -> Iterator[str]:
    """A table of rates and two of differences."""
    languages = [*next(iter(figures["wer"].values()))]
    yield f"### {figures['title']}\n"
    yield from _table(
        f"{label} on test in %",
        languages,
        {name: [numbers.percent(wer[of]) for of in languages] for name, wer in figures["wer"].items()},
    )
    for over in OVER:
        yield from _table(
            f"difference in points, {numbers.confidence(CONFIDENCE)} % interval over {over}",
            languages,
            {
                f"{one['row']} − {one['against']}": [numbers.change_interval(one["wer"][of][over]) for of in languages]
                for one in figures["differences"]
            },
        )


def _table(heading: str, languages: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for cells in ([heading, *languages], ["---"] * (1 + len(languages)), *([name, *of] for name, of in rows.items())):
        yield f"| {' | '.join(cells)} |"
    yield ""


def main() -> None:
    """Measure, print, and write averages.json into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="experiment file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes to it, for all trainings")
    parser.add_argument("--candidate", action="append", required=True, help="the candidate's change; repeatable")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--search", help="run folder of a search that kept the models of all trials")
    parser.add_argument("--out", type=Path, required=True, help="folder for trainings, tables and averages.json")
    given = parser.parse_intermixed_args()
    out = given.out.resolve()
    sections = [over_seeds(given.file, given.candidate, given.seeds, out, given.overrides)]
    if given.search:
        sections.append(of_search(given.search, out))
    figures = [section.figures() for section in sections]
    for section, of in zip(sections, figures, strict=True):
        print("\n".join(markdown(of, section.models.metrics.label)))
    (out / "averages.json").write_text(as_json(json.loads(json.dumps(figures, default=asdict))), encoding="utf-8")


if __name__ == "__main__":
    main()
