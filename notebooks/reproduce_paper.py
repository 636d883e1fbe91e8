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
# # The paper's comparison, and a run of it
#
# Piñeiro-Martín, García-Mateo, Docío-Fernández, López-Pérez and Rehm fine-tuned Whisper on six languages with a larger
# weight on Galician's cross-entropy (*Weighted Cross-entropy for Low-Resource Languages in Multilingual Speech
# Recognition*, Interspeech 2024, [arXiv 2409.16954](https://arxiv.org/abs/2409.16954)). They compare plain
# fine-tuning, a linear progressive weight (LP) and dynamic weight adaptation (DA), each with Galician as recorded and
# augmented.
#
# `search_spaces/paper.yaml` is that comparison, and `search_spaces/paper_demo.yaml` the same on a small synthetic
# world. This notebook opens the run folder of either, computes its figures again from the counts of each utterance, and
# puts them beside the published ones. `RAYWCE_RUN` names the folder: an environment variable, or the line below.

# %%
import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # nothing here shows a progress bar

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from IPython.display import Markdown, display

from raywce.evaluation.arms import Arms
from raywce.evaluation.confidence import Speech
from raywce.evaluation.paired import paired_errors
from raywce.evaluation.utterances import errors, reference_lengths
from raywce.runs.folder import RunFolder
from raywce.runs.recorded import recorded
from raywce.selection.settings import setting_name
from raywce.selection.trials import values_of

run = Path(os.environ.get("RAYWCE_RUN", "../runs/paper_demo"))
outcome = json.loads((run / "outcome.json").read_text())
experiment = recorded(RunFolder.at(str(run))).experiment
assert outcome["settings"], f"{run.name} must be the run of a grid, such as search_spaces/paper_demo.yaml"
low, high = outcome["low_resource"], outcome["high_resource"]
languages = low + high
ORIGINAL, PLAIN = "original", "plain, as recorded"  # the latter is the grid's baseline

BLACK, BLUE, ORANGE, VERMILION, PURPLE = "#000000", "#0072B2", "#E69F00", "#D55E00", "#CC79A7"  # Okabe and Ito's
plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
plt.rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})
pd.set_option("display.max_columns", None, "display.max_colwidth", None)

# %% [markdown]
# ## What the paper reports
#
# Relative changes of the WER on Common Voice's test splits, Whisper small, of the best approach for Galician; the
# change of each high-resource language is given in words.

# %%
BEST_AGAINST_PLAIN, BEST_AGAINST_ORIGINAL, ALL_AGAINST_PLAIN = -6.69, -48.86, -3.29
PAPERS_LANGUAGES, PAPERS_STEPS = {"gl", "es", "pt", "fr", "de", "en"}, 8000
published = pd.Series(
    {
        "gl against plain fine-tuning": BEST_AGAINST_PLAIN,
        "gl against the original Whisper": BEST_AGAINST_ORIGINAL,
        "mean of all six against plain fine-tuning": ALL_AGAINST_PLAIN,
        "each high-resource language against plain fine-tuning": "no degradation",
    },
    name="relative change of the WER, %",
)
display(published.to_frame())

# %% [markdown]
# ## The run's WERs, from the counts
#
# Errors and reference words of each training's dev utterances are added up for each language and divided once; where
# the run has a capped WER, an utterance has at most as many errors as its reference has words. The quotients must be
# the WERs of `trials.parquet`, and their means and standard deviations over the seeds those of `outcome.json`; the
# cell fails where they are not.

# %%
metric = experiment.metrics.of(low[0])  # of all: the paper knows WERs only
utterances = pq.read_table(run / "utterances.parquet")
decoded = utterances.filter(pc.equal(utterances["split"], "dev"))
dev = decoded.to_pandas()
dev["words"] = reference_lengths(decoded, metric.group)
dev["errors"] = errors(decoded, metric.group, metric.capped)
sums = dev[dev.phase != "confirm"].groupby(["trial_id", "language"])[["errors", "words"]].sum()
counted = (sums.errors / sums.words).unstack()[languages]

rows = pd.DataFrame(row for row in pq.read_table(run / "trials.parquet").to_pylist() if row["final"])
trials = rows[rows.phase.ne("confirm") & rows.state.eq("COMPLETE")].set_index("trial_id")
factors = experiment.search.alternatives
named = {trial_id: setting_name(values_of(row), factors) for trial_id, row in trials.iterrows()}
trials["approach"] = pd.Series(named).where(trials.phase == "search", PLAIN)
np.testing.assert_allclose(
    counted.loc[trials.index], trials[[f"{metric.unit}/{name}" for name in languages]], rtol=1e-12
)

wers = counted.loc[trials.index].groupby(trials.approach, sort=False)
mean, deviation, seeds = wers.mean(), wers.std(), wers.size()
mean.loc[ORIGINAL] = counted.loc["original"]
stored = {{"baseline": PLAIN}.get(setting["name"], setting["name"]): setting for setting in outcome["settings"]}
for name, setting in stored.items():
    np.testing.assert_allclose(mean.loc[name], [setting["wer"][language] for language in languages], rtol=1e-12)
    if setting["deviation"]:
        said = [setting["deviation"][language] for language in languages]
        np.testing.assert_allclose(deviation.loc[name], said, rtol=1e-9, atol=1e-15)
print(
    f"{len(trials)} trainings of {len(seeds)} approaches: their WERs are those of {sums.words.sum():,} reference words."
)

# %% [markdown]
# The WER that decides in the run, in %, mean ± standard deviation over the seeds:

# %%
order = [ORIGINAL, PLAIN, *(name for name in stored if name not in (ORIGINAL, "baseline", PLAIN))]


def cell(name, language):
    """A mean and, where there are several seeds, its deviation."""
    spread = deviation.loc[name, language] if name in deviation.index else np.nan
    return f"{100 * mean.loc[name, language]:.2f}" + ("" if np.isnan(spread) else f" ± {100 * spread:.2f}")


shown = pd.DataFrame({language: [cell(name, language) for name in order] for language in languages}, index=order)
shown.insert(0, "seeds", [seeds.get(name, 0) or "" for name in order])
display(shown.rename_axis("approach"))

# %% [markdown]
# ## Beside the paper
#
# Relative changes of the mean WER in %: of each low-resource language against the original model and against plain
# fine-tuning, of the mean of all languages, and of each high-resource language.

# %%
everything = mean.assign(all=mean[languages].mean(axis=1))
relative = {name: 100 * (everything / everything.loc[name] - 1) for name in (ORIGINAL, PLAIN)}
for name, setting in stored.items():  # what the search wrote
    for against, key in ((ORIGINAL, "against_original"), (PLAIN, "against_baseline")):
        for group, change in (setting[key] or {}).items():
            if group in everything:
                np.testing.assert_allclose(relative[against].loc[name, group], change, rtol=1e-9, atol=1e-9)

table = pd.DataFrame({f"{name} / original": relative[ORIGINAL][name] for name in low})
table = table.join(relative[PLAIN][[*low, "all", *high]].add_suffix(" / plain")).loc[order[1:]]
paper = {"gl / original": BEST_AGAINST_ORIGINAL, "gl / plain": BEST_AGAINST_PLAIN}
if set(languages) == PAPERS_LANGUAGES:  # or its mean is of others
    paper["all / plain"] = ALL_AGAINST_PLAIN
written = table.map("{:+.2f}".format)
written.loc["the paper's best"] = pd.Series(paper).map("{:+.2f}".format).reindex(table.columns, fill_value="")
for name in set(high) & PAPERS_LANGUAGES:
    written.loc["the paper's best", f"{name} / plain"] = "no degradation"
display(written.rename_axis("approach"))

# %%
approaches = order[1:]
places = np.arange(len(approaches))
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 1.3 + 0.4 * len(approaches)), sharey=True)
for language, marker, colour in zip(low, "os^v", [BLUE, ORANGE, VERMILION, BLACK], strict=False):
    runs = trials.index[trials.approach.isin(approaches)]
    at = [approaches.index(name) for name in trials.approach[runs]]
    left.scatter(
        100 * counted.loc[runs, language], at, marker=marker, color=colour, alpha=0.7, label=f"{language}, a seed"
    )
    left.scatter(100 * mean.loc[approaches, language], places, marker="|", s=250, color=colour, label="mean")
    change = relative[PLAIN].loc[approaches, language]
    right.scatter(change, places, marker=marker, color=colour, label=f"{language}")
change = relative[PLAIN].loc[approaches, "all"]
right.scatter(change, places, marker="D", color=PURPLE, label="mean of all languages")
if "gl / plain" in table:
    right.axvline(BEST_AGAINST_PLAIN, color=BLUE, linestyle="--", label="the paper's best, gl")
if "all / plain" in paper:
    right.axvline(ALL_AGAINST_PLAIN, color=PURPLE, linestyle=":", label="the paper's best, mean of all")
right.axvline(0, color=BLACK, linewidth=1)
left.set_yticks(places, approaches)
left.margins(y=0.1)
left.invert_yaxis()
left.set_xlabel(f"low-resource {metric.label} on dev, %")
right.set_xlabel(f"relative change of the {metric.label} against plain fine-tuning, %")
for axes in (left, right):
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
plt.show()

# %% [markdown]
# ## How sure that is
#
# Against plain fine-tuning again, as differences in points of WER, with intervals by the functions that the confirm
# phase uses: over other speech (utterances or speakers resampled, the same for both) and over seeds. With two or three
# seeds the latter is wide, and it should be: two trainings say little about a third.

# %%
confidence = experiment.search.confirm.confidence


def decoded_by(trial_id):
    """A training's dev utterances."""
    return utterances.filter((pc.field("trial_id") == trial_id) & (pc.field("split") == "dev"))


def change_of(name, language):
    """Points of WER above plain fine-tuning, and their interval, over the seeds that both have."""
    by_seed = [trials[trials.approach == one].reset_index().set_index("seed").trial_id for one in (name, PLAIN)]
    common = sorted(set(by_seed[0].index) & set(by_seed[1].index))
    if not common:
        return [np.nan] * 3
    tables = [decoded_by(trial_id) for of in by_seed for trial_id in of[common]]
    paired = paired_errors(tables, language, metric)
    speech = Speech(paired.words, paired.speakers, experiment.search.confirm.resamples, experiment.search.seed)
    rates, count = speech.rates(paired.errors), len(common)
    by_arm = [rates[:count], rates[count:]]
    found = Arms([by_arm], fixed=0 if count > 1 else 2).estimate(np.subtract, 0, 1)
    return [100 * float(points) for points in (found.value, *found.interval(confidence))]


intervals = {name: {language: change_of(name, language) for language in languages} for name in approaches[1:]}
written = pd.DataFrame(intervals).T.map(lambda found: "{:+.1f} ({:+.1f} to {:+.1f})".format(*found))
print(f"difference of the WER to plain fine-tuning, points, {100 * confidence:g} % intervals")
display(written.rename_axis("approach"))

# %% [markdown]
# ## What this run can say

# %%
best = everything.loc[approaches[1:], low].mean(axis=1).idxmin()
is_demo = Path(experiment.data.folder).parent.name == "demo"
checkpoint, steps = Path(experiment.model.checkpoint).name, experiment.training.steps
of_low = dev[(dev.trial_id == ORIGINAL) & dev.language.isin(low)]
said = [
    f"{checkpoint}, {steps} steps, {seeds[best]} seeds of each approach, on the dev split: {len(of_low)} utterances of "
    f"{of_low.speaker.nunique()} speakers in {', '.join(low)}. Of these approaches the lowest low-resource WER is that "
    f"of *{best}*."
]
for language in low:
    value, least, most = intervals[best][language]
    errors = "fewer" if most < 0 else "more" if least > 0 else "neither surely fewer nor surely more"
    said.append(
        f"**{language}**: {value:+.2f} points against plain fine-tuning, {100 * confidence:g} % interval {least:+.2f} "
        f"to {most:+.2f}: {errors} word errors."
    )
    if language == "gl":
        points = BEST_AGAINST_PLAIN * mean.loc[PLAIN, language]
        inside = "inside" if least <= points <= most else "outside"
        said[-1] += f" The paper's {BEST_AGAINST_PLAIN} % of this plain WER is {points:+.2f} points, {inside} it."
rising = [language for language in high if intervals[best][language][0] > 0]
surely = [language for language in rising if intervals[best][language][1] > 0]
said.append(
    f"**High-resource languages**: the WER rises for {len(rising)} of {len(high)} ({', '.join(rising) or 'none'}), "
    f"surely for {', '.join(surely) or 'none'}; the paper saw no degradation."
)
reasons = [
    "the paper's figures are of test splits, these of dev, where the best approach was picked too, by which it gains"
]
if is_demo:
    reasons.append("a grammar's sentences, spoken by a synthesizer: what wins here says nothing about human speech")
else:
    reasons.append(
        "whether it is the paper's data (Common Voice gl 13, es 5, pt 7, fr 1, de 2, en 1) is for you to say"
    )
if checkpoint != "whisper-small":
    reasons.append(f"the paper's model is whisper-small, this one's {checkpoint}")
if steps != PAPERS_STEPS:
    reasons.append(f"the paper trains {PAPERS_STEPS} steps, this run {steps}")
if seeds[best] < 5:
    reasons.append(f"{seeds[best]} seeds show how much trainings differ only roughly")
said.append("**What it can not say**:\n" + "\n".join(f"- {reason};" for reason in reasons)[:-1] + ".")
display(Markdown("\n\n".join(said)))
