"""The figures of a report, as the page shows them and `--json` writes them.

Rates and differences of rates are fractions, each language's of its own WER or CER; what is called points is hundredths
of them; times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from raywce.experiment.space import Scalar
from raywce.report.corpus import Corpus
from raywce.report.examples import Examples
from raywce.selection.comparison import Claim
from raywce.selection.outcome import ParetoPoint
from raywce.selection.robustness import RobustnessFigures
from raywce.selection.settings import Setting
from raywce.valid_json import with_nulls


@dataclass(frozen=True)
class Figure:
    """A rate or a difference of two, with the ends of its interval where that is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """One language of a comparison.

    Attributes:
        watched: whether the model is not trained on it.
        baseline_deviation: standard deviation over the baseline's seeds, a fraction; None where not known.
        allowed: points by which the rate may be above the baseline's; None without a limit, and on other speech than
            that of the search.
        above_limit: points above the limit; in the confirm phase, their upper bound; <= 0 holds.
        identified: share of utterances whose language is recognised by the model chosen; None where not measured.
    """

    language: str
    low_resource: bool
    watched: bool = False
    original: Figure | None
    baseline: Figure
    chosen: Figure
    against_baseline: Figure
    against_original: Figure | None
    baseline_deviation: float | None = None
    allowed: float | None = None
    above_limit: float | None
    identified: float | None = None


@dataclass(frozen=True)
class WerTable:
    """Original, baseline and the model chosen on one set of utterances.

    Attributes:
        title: which utterances.
        chosen: the trial, or the candidate of the confirm phase.
        label: what that is: winner, nearest candidate, best trial, nearest trial.
        note: what its intervals cover.
        gain: objective of the model chosen minus the baseline's.
        has_bounds: whether what is said of limits are bounds with the wanted confidence, and not points.
        baseline_seeds: how many trainings of the baseline the means are over; 0 where they are no means.
    """

    title: str
    chosen: str
    label: str
    seeds: int
    note: str
    gain: Figure | None
    languages: list[LanguageRow]
    has_bounds: bool = False
    baseline_seeds: int = 0


@dataclass(frozen=True)
class TrialPoint:
    """One training, as it stood at its last evaluation.

    Attributes:
        objective: what is minimised; None where it was not evaluated.
        worst_change: points of the language with a limit that lost most against the baseline.
        reason: why it failed.
        in_pareto_set: whether no other completed trial is at least as good in both.
    """

    phase: str
    trial_id: str
    seed: int
    state: str
    step: int | None
    feasible: bool | None
    objective: float | None
    worst_change: float | None
    in_pareto_set: bool
    values: Mapping[str, Scalar]
    wer: dict[str, float | None]
    time_s: float | None
    reason: str | None


@dataclass(frozen=True)
class AlphaCurve:
    """The scheduled alpha of one trial and low-resource language, at the steps where its slope changes."""

    trial_id: str
    language: str
    adaptive: bool
    steps: list[int]
    alpha: list[float]


@dataclass(frozen=True)
class StepReport:
    """One report of a training: by language its rate on dev, the training cross-entropy and the alpha in force."""

    step: int
    wer: Mapping[str, float]
    loss: Mapping[str, float]
    alpha: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """A training's reports by step.

    Attributes:
        left_out: reports without an evaluation that are not among them, where there are very many.
    """

    trial_id: str
    reports: list[StepReport]
    left_out: int


@dataclass(frozen=True)
class Importance:
    """Importance of the hyperparameters, by Optuna.

    Attributes:
        shares: of each searched leaf, largest first; they add up to 1.
        trials: how many completed trials they rest on.
        pairs: of leaves whose contours are drawn.
        contour_trials: how many trials the contours are drawn from.
        why_not: why there are no importances, if there are none.
    """

    shares: dict[str, float]
    trials: int
    pairs: list[tuple[str, str]]
    contour_trials: int
    why_not: str | None


@dataclass(frozen=True)
class PhaseCost:
    """Trainings of a phase, the time that they took, and that time by the processors that a trial holds."""

    phase: str
    trainings: int
    seconds: float
    cpu_hours: float
    gpu_hours: float


@dataclass(frozen=True)
class SetUp:
    """The configuration of a run, and its cost.

    Attributes:
        experiment: the resolved file.
        versions: of the packages, and the git revision.
        test_split: when the test split was opened, by which command and for which models.
        search_seconds: wall time of the search phase.
    """

    experiment: str
    choice: str
    versions: dict[str, str | None]
    seeds: dict[str, int]
    test_split: list[str]
    costs: list[PhaseCost]
    search_seconds: float | None


@dataclass(frozen=True)
class RunReport:
    """Everything that a report shows.

    Attributes:
        finding: the outcome in a sentence or two.
        label: of the model that the finding is about.
        notes: what else to know.
        rate_notes: on single trainings: the same as another, or a plain rate well above the capped one.
        wanted: trials that the file asks for.
        rate: name of the rates, such as `capped WER`.
        objective: name of what is minimised.
        objective_about: a sentence on it, where that is no mean rate.
        marks: `WER` or `CER` by language; empty where all have a rate of one kind.
        rate_title: heading over the rates.
        counted: what a reference consists of.
        headline: the finding in one line of plain words; empty where there is none yet.
        baseline_about: what the baseline is.
        baseline_objective: the baseline's.
        wers: the first is what the finding is about.
        claims: of the confirm phase's candidates.
        trials: all trainings, the best of the search first.
        pareto: trials, or settings of a grid, that no other equals in both figures.
        best: the training that the finding is about.
        candidate: the candidate whose training it is.
        allowed: by language with a limit, points by which it may be above the baseline.
        settings: of a grid.
        robustness: measures of original, baseline and winner beside the rates; None where no test split was opened.
    """

    name: str
    folder: str
    metric: str
    rate: str
    objective: str
    objective_about: str
    marks: Mapping[str, str]
    rate_title: str
    counted: str
    capped: bool
    normalizer: str
    confidence: float
    low_resource: list[str]
    high_resource: list[str]
    watched: list[str]
    finished: bool
    headline: str
    finding: str
    label: str
    notes: list[str]
    rate_notes: list[str]
    wanted: int
    completed: int
    feasible: int
    failed: int
    stopped: int
    baseline_about: str
    baseline_objective: float | None
    wers: list[WerTable]
    claims: Mapping[str, Claim]
    trials: list[TrialPoint]
    pareto: list[ParetoPoint]
    best: str | None
    candidate: str | None
    allowed: dict[str, float]
    alphas: list[AlphaCurve]
    curves: list[Curve]
    importance: Importance
    settings: list[Setting]
    examples: Examples
    corpus: Corpus
    set_up: SetUp
    robustness: RobustnessFigures | None

    def as_dict(self) -> dict[str, object]:
        """Return the figures for JSON, with null for NaN."""
        return dict(with_nulls(asdict(self)))
