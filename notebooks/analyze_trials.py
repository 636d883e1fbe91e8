# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What a search found, and how to check it
#
# This notebook opens the run folder of a finished `raywce search`. It shows the trials, computes the WERs again from
# the counts of each utterance, and compares the best trial with the baseline. Nothing here is needed to
# use the result: it is for looking closer, and for questions of your own.
#
# `RAYWCE_RUN` names the run folder: an environment variable, or the line below.
#
# The **baseline** is plain fine-tuning: weight 1, no augmentation, `search.baseline`; the **original** the model before
# any. A trial is **feasible** where every language with a limit keeps it. WERs are in %, their differences in
# points.

# %%
import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # nothing here shows a progress bar

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import jiwer
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from IPython.display import display

from raywce.evaluation.arms import Arms
from raywce.evaluation.confidence import Speech
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.utterances import errors, reference_lengths
from raywce.runs.folder import RunFolder
from raywce.runs.recorded import recorded
from raywce.runs.tables import as_drawn
from raywce.selection.equal_weights import alike
from raywce.selection.limits import limits
from raywce.selection.trials import values_of

run = Path(os.environ.get("RAYWCE_RUN", "../runs/quickstart"))
outcome = json.loads((run / "outcome.json").read_text())
file = recorded(RunFolder.at(str(run)))
trials = pd.read_parquet(run / "trials.parquet")
decoded = pq.read_table(run / "utterances.parquet")
utterances = decoded.to_pandas()

experiment, references = file.experiment, outcome["references"]
low, high = outcome["low_resource"], outcome["high_resource"]
metrics = experiment.metrics
languages = low + high
column = {language: f"{metrics.of(language).unit}/{language}" for language in metrics.languages}  # of its own rate
ratios = trials.get("ratios", trials.step * np.nan).dropna().groupby(trials.trial_id).agg(list)
last = trials.drop_duplicates("trial_id", keep="last").set_index("trial_id")  # each trial as it ended
searched = last[last.phase == "search"]
complete = searched[searched.state == "COMPLETE"]
best = outcome["best"] or outcome["nearest"]
what_best_is = "best feasible" if outcome["best"] else "nearest to feasible"

print(f"{run.name}: {len(searched)} trials, {len(complete)} of them complete")
print(f"{what_best_is}: {best['trial_id']}")
for path, value in best["values"].items():
    print(f"  {path} = {value:.4g}" if isinstance(value, float) else f"  {path} = {value}")

# %%
# Okabe and Ito's colours, which the colour-blind tell apart; markers differ as well.
BLACK, BLUE, ORANGE, GREEN, VERMILION = "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLOURS, MARKERS = [BLUE, ORANGE, GREEN, VERMILION, "#CC79A7", "#56B4E9"], "osP^vX"
plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
plt.rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})
pd.set_option("display.max_columns", None, "display.max_colwidth", None, "display.max_rows", 200)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)

# %% [markdown]
# ## The trials
#
# One row a trial as it ended: the feasible ones first, by low-resource WER (or what else is minimised, by the rates of
# `evaluation.metric`). `violation` is how many points the language that is nearest to its limit is above it: 0 or less
# where the trial is feasible. `trials.parquet` has more: a row for each report, with losses, CERs and seconds.

# %%
wer = list(column.values())
config = [name for name in last if name.startswith("config/")]
order = ["infeasible", "objective", "violation"]
ranked = searched.assign(infeasible=searched.feasible.ne(True)).sort_values(order)
shown = ranked.assign(**100 * ranked[wer])[["state", "seed", *config, *wer, "feasible", "violation"]]
display(shown.rename(columns={name: f"{name}, %" for name in wer}).round(2))

# %% [markdown]
# ## What low-resource WER costs the others
#
# Each trial's low-resource WER (the mean, where there are several such languages) against the largest change over the
# baseline of one that has a limit. Dashed: what the limits allow. In a capped WER, an utterance has at most as many
# errors as its reference has words.

# %%
baseline = pd.Series(references["baseline"])
allowed = limits(experiment.search.constraints, references["limits"])
room = pd.Series({name: 100 * (one.reference + one.allowance - baseline[name]) for name, one in allowed.items()})
changes = pd.DataFrame({name: 100 * (complete[column[name]] - baseline[name]) for name in allowed}, complete.index)
largest = changes.max(axis=1).fillna(0)

figure, axes = plt.subplots(figsize=(8, 4))
for feasible, label, marker, colour in ((True, "feasible", "o", BLUE), (False, "not feasible", "X", VERMILION)):
    of = complete.index[complete.feasible.eq(feasible)]
    dots = {"s": 60, "marker": marker, "color": colour, "alpha": 0.7, "label": f"{label} ({len(of)})"}
    axes.scatter(largest[of], 100 * complete.objective[of], **dots)
axes.scatter(0, 100 * outcome["baseline_objective"], s=70, marker="D", color=BLACK, label="baseline")
of = best["trial_id"].split(", ")  # of a grid, its seeds
ring = {"s": 220, "facecolors": "none", "edgecolors": ORANGE, "linewidths": 2}
axes.scatter(largest[of], 100 * complete.objective[of], label=what_best_is, **ring)
for height, (points, of_points) in enumerate(room.groupby(room.round(2))):
    axes.axvline(points, color=BLACK, linestyle="--", linewidth=1)
    label = f"limit of {', '.join(of_points.index)} "
    at = {"transform": axes.get_xaxis_transform(), "ha": "right", "va": "top"}
    axes.text(points, 1 - 0.06 * height, label, **at)
axes.set_xlabel(f"largest change against the baseline of a {metrics.label} with a limit, points")
axes.set_ylabel(f"{metrics.objective_label} ({', '.join(low)}), %")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Alpha, loss and WER over the steps
#
# A run of the baseline, and the three best trials that differ. Alpha is the weight that was applied, the loss the
# training's own, not weighted, and the WER that of dev wherever it was evaluated; at step 0 it is the original
# model's.

# %%
known = {
    of: (file.at(as_drawn(values_of(row), file.space)), [one for rows in ratios.get(of, []) for one in rows])
    for of, row in ranked[ranked.state == "COMPLETE"].iterrows()
}
distinct = list(alike(known))[:3]
lines = [*last.index[last.phase == "baseline"][:1], *distinct]
figure, panels = plt.subplots(len(low), 3, figsize=(10, 0.6 + 2.7 * len(low)), squeeze=False)
for row, language in zip(panels, low, strict=True):
    for axes, name in zip(row, ("alpha", "loss", "wer"), strict=True):
        for trial_id, marker, colour in zip(lines, "DosP", [BLACK, BLUE, ORANGE, GREEN], strict=False):
            key = column[language] if name == "wer" else f"{name}/{language}"
            curve = trials[trials.trial_id == trial_id].set_index("step")[key].dropna()
            if name == "wer":
                curve[0] = references["original"][language]
                curve = 100 * curve.sort_index()
            axes.plot(curve, marker=marker, color=colour, label=trial_id, markersize=5, alpha=0.8)
        rate = f"dev {metrics.of(language).label}, %"
        label = {"alpha": "alpha", "loss": "training loss, nats a token", "wer": rate}[name]
        axes.set(xlabel="optimizer step", ylabel=f"{label} ({language})")
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# ## The WERs, from the counts
#
# For each utterance and each model that decoded it, `utterances.parquet` has the words that were hit, substituted,
# deleted and inserted. Capped as the experiment says, added up for each language and divided once, they must give the
# WERs of `trials.parquet` and of `outcome.json`. The next cell fails where they don't.

# %%
for language in metrics.languages:  # words, or characters where the language's rate is a CER
    here, group = utterances.language.eq(language), metrics.of(language).group
    utterances.loc[here, "words"] = reference_lengths(decoded, group)[here]
    utterances.loc[here, "errors"] = errors(decoded, group, capped=False)[here]
    utterances.loc[here, "counted"] = errors(decoded, group, metrics.capped)[here]
utterances = utterances.astype(dict.fromkeys(["words", "errors", "counted"], int))
dev = utterances[utterances.split == "dev"]
sums = dev.groupby(["phase", "trial_id", "language"])[["counted", "words"]].sum()
counted = (sums.counted / sums.words).unstack()

ended = trials[trials.utterances.notna()].drop_duplicates("trial_id", keep="last").set_index(["phase", "trial_id"])
stored = ended[wer].set_axis(languages, axis=1)
np.testing.assert_allclose(counted.loc[stored.index, languages], stored[languages], rtol=1e-12)
original = pd.Series(references["original"])
np.testing.assert_allclose(counted.loc[("baseline", "original")][languages], original[languages], rtol=1e-12)
print(f"The WERs of {len(stored)} trainings and of the original model are those of the counts:")
print(f"{len(dev):,} decoded utterances, {dev.words.sum():,} reference words, {dev.errors.sum():,} errors.")

# %% [markdown]
# ## Against the baseline
#
# The difference of each language's WER, with its interval, by the functions that the search itself uses: both models'
# errors on the same utterances, which are resampled by speaker, or one by one where speakers are few or unknown.
#
# Where the run has a confirm phase, that is what is shown: new seeds, and speech that the search did not see. Without
# one, the interval knows nothing of what another seed or another choice of trials would give, and the best of many
# trials looks better than it is.

# %%
confirm, confirmation = experiment.search.confirm, outcome["confirmation"]
claims = confirmation["choice"]["claims"] if confirmation else {}
if claims:
    model = confirmation["choice"]["winner"] or min(claims, key=lambda name: claims[name]["p_with_model"])
    of_confirm = last[last.phase == "confirm"].sort_values("seed")
    arms = {name: list(of_confirm.index[of_confirm.candidate == name]) for name in ("baseline", *claims)}
else:
    model = best["trial_id"]
    arms = {"baseline": list(last.index[last.phase == "baseline"]), model: model.split(", ")}
ours = arms[model]
over_seeds = len(ours) > 1
table = pq.read_table(run / "utterances.parquet")


def decoded_by(trial_id):
    """A trial's dev utterances."""
    return table.filter((pc.field("trial_id") == trial_id) & (pc.field("split") == "dev"))


def difference(language):
    """Our mean WER minus the baseline's. How much trainings of one setting differ, all arms say together."""
    paired = paired_errors([decoded_by(one) for of in arms.values() for one in of], language, metrics.of(language))
    rates = Speech(paired.words, paired.speakers, confirm.resamples, experiment.search.seed).rates(paired.errors)
    ends = np.cumsum([0, *map(len, arms.values())])
    by_arm = [rates[start:end] for start, end in pairwise(ends)]
    return Arms([by_arm], fixed=0 if over_seeds else len(arms)).estimate(np.subtract, list(arms).index(model), 0)


estimates = {language: difference(language) for language in languages}
gain = pd.DataFrame({"change": {name: float(one.value) for name, one in estimates.items()}})
gain["from"], gain["to"] = zip(
    *(map(float, one.interval(confirm.confidence)) for one in estimates.values()), strict=True
)
covered = f"other speech and other seeds ({len(ours)})" if over_seeds else "other speech alone"
percent = f"{100 * confirm.confidence:g} % interval"
print(f"{model} against the baseline; the {percent} is over {covered}. Points of {metrics.label}:")
display((100 * gain).round(2))

# %% [markdown]
# What the search said must be the same: differences, and after a confirm phase the ends of the intervals.

# %%
if claims:
    said = pd.DataFrame(confirmation["dev"]["candidates"][model]["against_baseline"]).T[["value", "low", "high"]]
    np.testing.assert_allclose(gain, said.loc[languages], rtol=1e-9, atol=1e-12)
    for name, claim in claims.items():
        said_of = "confirmed" if claim["confirmed"] else "not confirmed"
        by = f"p = {claim['p_held_out']:.3g} by held-out speech, {claim['p_with_model']:.3g} with the trials"
        print(f"{name} over {claim['seeds']} seeds: {said_of} ({by})")
else:
    said = pd.Series(best["wer"]) - baseline
    np.testing.assert_allclose(gain.change, said[languages], rtol=1e-9, atol=1e-12)
    print("There was no confirm phase: search.confirm.candidates of the experiment file turns it on.")
print("outcome.json says the same.")

# %%
figure, axes = plt.subplots(figsize=(8, 0.8 + 0.4 * len(languages)))
for group, marker, colour in ((low, "o", VERMILION), (high, "s", BLUE)):
    points = 100 * gain.loc[group]
    reach = [points.change - points["from"], points.to - points.change]
    label = "low-resource" if group is low else "high-resource"
    axes.errorbar(points.change, group, xerr=reach, fmt=marker, color=colour, capsize=3, label=label)
if set(ours) <= set(complete.index):  # the limits that the search held it to
    axes.scatter(room, room.index, marker="|", s=200, color=BLACK, label="limit")
axes.axvline(0, color=BLACK, linewidth=1)
axes.invert_yaxis()
axes.set_xlabel(f"change of the {metrics.label} against the baseline, points, {percent}")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The test split is decoded once, where a confirm phase had a winner. Its WERs from the counts, in %, means over the
# seeds:

# %%
tests = utterances[utterances.phase == "test"]
if len(tests):
    by_model = tests.assign(model=tests.trial_id.map(last.candidate).fillna("original"))
    sums = by_model.groupby(["split", "model", "trial_id", "language"])[["counted", "words"]].sum()
    on_tests = (sums.counted / sums.words).groupby(["split", "model", "language"]).mean().unstack()
    for name, test in confirmation["tests"].items():
        stored = pd.DataFrame(test["candidates"][model]["wer"]).T.value
        np.testing.assert_allclose(on_tests.loc[(name, model)][stored.index], stored, rtol=1e-9)
    display((100 * on_tests).round(2))
else:
    print("It was not opened.")

# %% [markdown]
# ## Which hyperparameter mattered
#
# Low-resource WER over each of them, and Optuna's importance: how much of what sets the better trials apart is this
# one's. With few trials the number says little, and the points more: take both as a hint at what to vary next.

# %%
FEWEST, MOST_PANELS = 4, 9
space = file.optuna_space
rows = {row["trial_id"]: row for row in pq.read_table(run / "trials.parquet").to_pylist()}
study = optuna.create_study()
for trial_id in complete.index:
    values = as_drawn(values_of(rows[trial_id]), file.space)
    trial = optuna.trial.create_trial(params=values, distributions=space, value=complete.objective[trial_id])
    study.add_trial(trial)
shares = optuna.importance.get_param_importances(study) if len(complete) >= FEWEST else {}
print(f"{len(complete)} complete trials" + ("" if shares else f": importances need {FEWEST}"))

paths = (list(shares) or list(space))[:MOST_PANELS]
height, width = -(-len(paths) // 3), min(len(paths), 3)
figure, panels = plt.subplots(height, width, figsize=(3.4 * width, 2.7 * height), squeeze=False, sharey=True)
for axes, path in zip(panels.flat, paths, strict=False):
    drawn = pd.Series([trial.params[path] for trial in study.trials], complete.index)
    named = isinstance(space[path], optuna.distributions.CategoricalDistribution)
    for feasible, marker, colour in ((True, "o", BLUE), (False, "X", VERMILION)):
        of = complete.index[complete.feasible.eq(feasible)]
        places = [space[path].choices.index(value) for value in drawn[of]] if named else drawn[of]
        axes.scatter(places, 100 * complete.objective[of], marker=marker, color=colour, alpha=0.7)
    if named:
        axes.set_xticks(range(len(space[path].choices)), map(str, space[path].choices))
        axes.margins(x=0.3)
    elif getattr(space[path], "log", False):
        axes.set_xscale("log")
    axes.set_xlabel(path)
    axes.set_title(f"importance {shares[path]:.2f}" if shares else "", fontsize=9)
for axes in panels[:, 0]:
    axes.set_ylabel(f"{metrics.objective_label}, %")
for axes in panels.flat[len(paths) :]:
    axes.remove()
plt.show()

# %% [markdown]
# ## Which utterances changed most
#
# Errors of each dev utterance, a mean over the seeds, and what the first of them decoded: first those that gained most
# against the baseline, then those that lost most.

# %%
text = "_normalized" if metrics.words.text == "normalized" else ""


def by_utterance(trial_ids):
    """Errors of each dev utterance, and what was decoded."""
    of = dev[dev.trial_id.isin(trial_ids)].groupby(["language", "id"])
    found = of[["speaker", "duration", "words", f"reference{text}", f"hypothesis{text}"]].first()
    found.columns = ["speaker", "duration", "words", "reference", "hypothesis"]
    return found.assign(errors=of.errors.mean(), counted=of.counted.mean())


before = by_utterance(arms["baseline"])[["hypothesis", "errors", "counted"]].add_suffix(" of baseline")
pairs = by_utterance(ours).join(before)
pairs["change"] = pairs.errors - pairs["errors of baseline"]
columns = ["words", "reference", "hypothesis of baseline", "hypothesis", "errors of baseline", "errors", "change"]
by_change = pairs.sort_values("change")[columns]
display(by_change[by_change.change < 0].head(6).round(2))
display(by_change[by_change.change > 0].tail(6).iloc[::-1].round(2))

# %% [markdown]
# ## Errors by duration and speaker
#
# On the left the low-resource utterances in four parts of equal number, from the shortest to the longest. On the
# right each speaker: below the line the WER fell.

# %%
low_pairs = pairs[pairs.index.get_level_values("language").isin(low)]
rank = low_pairs.groupby("language").duration.rank(method="first", pct=True)
quarters = low_pairs.assign(quarter=np.ceil(4 * rank)).groupby(["language", "quarter"])
parts = quarters[["words", "counted", "counted of baseline"]].sum().assign(duration=quarters.duration.mean())
speakers = pairs.groupby(["language", "speaker"])[["words", "counted", "counted of baseline"]].sum()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for language, marker, colour in zip(low, MARKERS, COLOURS, strict=False):
    part = parts.loc[language]
    label = f"{language}, baseline"
    left.plot(part.duration, 100 * part["counted of baseline"] / part.words, f"{marker}--", color=BLACK, label=label)
    left.plot(part.duration, 100 * part.counted / part.words, f"{marker}-", color=colour, label=language)
groups = [(high, "high-resource", "^", "#56B4E9"), (low, "low-resource", "o", VERMILION)]
for group, label, marker, colour in groups:
    of = speakers[speakers.index.get_level_values("language").isin(group) & speakers.words.gt(0)]
    before, after = 100 * of["counted of baseline"] / of.words, 100 * of.counted / of.words
    right.scatter(before, after, marker=marker, color=colour, alpha=0.7, label=f"{label} ({len(of)} speakers)")
right.axline((0, 0), slope=1, color=BLACK, linewidth=1)
left.set(xlabel="mean duration, s", ylabel=f"{metrics.label}, %", ylim=(0, None))
right.set(xlabel=f"{metrics.label} of the baseline, %", ylabel=f"{metrics.label} of {model.partition(',')[0]}, %")
left.legend()
right.legend()
plt.show()

# %% [markdown]
# ## Your own questions
#
# `dev` has a row for each training and utterance, with its texts and counts; `pairs` has one for each utterance, ours
# beside the baseline. Two questions as examples.
#
# **Does the gain go to a few speakers or to most of them?**

# %%
change = 100 * (speakers.counted - speakers["counted of baseline"]) / speakers.words
of = change.groupby("language")
how = pd.DataFrame({"speakers": of.size(), "better": (change < 0).groupby("language").sum()})
how["worse"] = (change > 0).groupby("language").sum()
how["median change, points"] = of.median()
display(how.reindex(languages).dropna().round(1).astype({"speakers": int, "better": int, "worse": int}))

# %% [markdown]
# **Which words of the low-resource language are recognised now that were not before?** Times that a reference word was
# substituted or deleted, a mean over the seeds; of a language with a CER, characters.


# %%
def spaced(language):
    """A function that puts spaces between what the language's rate counts."""
    return lambda text: " ".join(metrics.of(language).pieces(text, language))


def missed(trial_ids, language):
    """How often each reference word is missed by one training."""
    of = dev[dev.trial_id.isin(trial_ids) & dev.language.eq(language) & dev[f"reference{text}"].ne("")]
    texts = (list(of[f"{kind}{text}"].map(spaced(language))) for kind in ("reference", "hypothesis"))
    aligned = jiwer.process_words(*texts)
    found = Counter()
    for reference, chunks in zip(aligned.references, aligned.alignments, strict=True):
        for chunk in chunks:
            if chunk.type in ("substitute", "delete"):
                found.update(reference[chunk.ref_start_idx : chunk.ref_end_idx])
    return pd.Series(found, dtype=float) / len(trial_ids)


for language in low:
    said = Counter(" ".join(pairs.loc[language].reference.map(spaced(language))).split())
    missing = pd.DataFrame({"said": said, "missed by baseline": missed(arms["baseline"], language)})
    missing["missed now"] = missed(ours, language)
    missing = missing.fillna(0).assign(change=lambda of: of["missed now"] - of["missed by baseline"])
    display(missing.rename_axis(f"word of {language}").sort_values(["change", "said"]).round(1).head(8))
