"""What an experiment file may hold, with concrete values: the models that every other part is configured by.

Distributions are taken out of the file before it is held against these models (`raywce.experiment.space`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from raywce.evaluation.settings import DecodeSettings
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.section import Count, Language, NotNegative, Positive, Section, Share
from raywce.weighting import AlphaSchedule

_MLFLOW = r"^((https?|sqlite|postgresql|mysql|mssql)(\+\w+)?://.+|databricks(://.+)?)$"  # files it takes no more


class Model(Section):
    """The checkpoint that is fine-tuned."""

    checkpoint: str = Field(
        description="A transformers folder, a Hub id such as openai/whisper-small, or demo:micro-whisper."
    )
    revision: str | None = Field(None, description="Git revision of a Hub id.")
    freeze_encoder: bool = Field(False, description="Train the decoder only.")
    gradient_checkpointing: bool = Field(False, description="Less memory for about a third more time.")


class Sampling(Section):
    """Which share of the utterances in a batch each language has."""

    temperature: Positive = Field(1.0, description="Shares grow as n^(1/temperature): 1 as in the data.")
    shares: dict[Language, Positive] | None = Field(
        None, description="Explicit shares, one for each language; they are scaled to a sum of 1."
    )
    both_kinds: bool | Literal["auto"] = Field(
        "auto",
        description="Put low- and high-resource utterances into every batch; auto: where a dynamic weight can occur.",
    )
    duration_window: Count = Field(
        1,
        description="Steps over which utterances are sorted by duration into batches; 1: within a batch only.",
    )


class Data(Section):
    """Prepared speech."""

    folder: str = Field(description="What `raywce prepare` wrote, or demo:six-languages.")
    cache: str = Field("~/.cache/raywce", description="Where a node keeps its Arrow copy, and the demo corpus.")
    sampling: Sampling = Sampling()
    extra_test: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], str] = Field(
        default_factory=dict,
        description="Name to prepared folder: more test splits, such as of another domain; test and dev are taken.",
    )


class Languages(Section):
    """Which languages are to become better, and which must not become worse."""

    low_resource: list[Language] = Field(min_length=1)
    high_resource: list[Language] = Field(default_factory=list)
    language_tokens: dict[Language, Language] = Field(
        default_factory=dict, description="For a language without a token of its own: whose it takes."
    )

    @property
    def all(self) -> list[str]:
        """Low-resource languages first."""
        return [*self.low_resource, *self.high_resource]

    def token_of(self, language: str) -> str:
        """The language code whose token `language` is trained and decoded with."""
        return self.language_tokens.get(language, language)


Scope = Annotated[
    Literal["utterance", "batch"],
    Field(
        description="utterance: the method; batch: as the released script, which multiplies the whole batch: by its "
        "mean weight, or by the low-resource weight itself where that is adaptive."
    ),
]


class ConstantAlpha(Section):
    """A weight of one low-resource language's own."""

    alpha: Positive


class RampAlpha(Section):
    """The two ends of one low-resource language's own ramp."""

    alpha_initial: Positive
    alpha_final: Positive


class NoWeighting(Section):
    """Plain fine-tuning: every weight is 1."""

    kind: Literal["none"] = "none"

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Weight 1 for each."""
        return {language: AlphaSchedule() for language in languages}

    @property
    def scope(self) -> Scope:
        """Both scopes are the same at weight 1."""
        return "utterance"


class _Constant(Section):
    alpha: Positive
    scope: Scope = "utterance"
    languages: dict[Language, ConstantAlpha] = Field(default_factory=dict)

    def _schedules(self, languages: list[str], adaptive: bool) -> dict[str, AlphaSchedule]:
        own = {language: value.alpha for language, value in self.languages.items()}
        alphas = {language: own.get(language, self.alpha) for language in languages}
        return {language: AlphaSchedule(a, a, adaptive=adaptive) for language, a in alphas.items()}


class ConstantWeighting(_Constant):
    """The same weight from the first step to the last."""

    kind: Literal["constant"]

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """A schedule for each low-resource language."""
        return self._schedules(languages, adaptive=False)


class DynamicWeighting(_Constant):
    """The paper's dynamic adaptation: a weight gated by the loss ratio of the global batch."""

    kind: Literal["dynamic"]

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """A schedule for each low-resource language."""
        return self._schedules(languages, adaptive=True)


class _Ramp(Section):
    alpha_initial: Positive
    alpha_final: Positive
    ramp_start: Share = Field(0.0, description="Share of the steps before which the weight is 1 (N_min / N_total).")
    scope: Scope = "utterance"
    languages: dict[Language, RampAlpha] = Field(default_factory=dict)

    def _schedules(self, languages: list[str], fraction: float, adaptive: bool) -> dict[str, AlphaSchedule]:
        ends = {language: self.languages.get(language, self) for language in languages}
        return {
            language: AlphaSchedule(end.alpha_initial, end.alpha_final, self.ramp_start, fraction, adaptive)
            for language, end in ends.items()
        }


class LinearProgressiveWeighting(_Ramp):
    """The paper's linear progressive weight: it grows until the last step."""

    kind: Literal["linear_progressive"]

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """A schedule for each low-resource language."""
        return self._schedules(languages, 1.0, adaptive=False)


class ProgressiveDynamicWeighting(_Ramp):
    """A ramp whose weight is gated by the loss ratio."""

    kind: Literal["progressive_dynamic"]
    ramp_fraction: Share = 1.0

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """A schedule for each low-resource language."""
        return self._schedules(languages, self.ramp_fraction, adaptive=True)


class FamilyWeighting(_Ramp):
    """The whole family, flat: what a search over all strategies at once moves in."""

    kind: Literal["family"]
    ramp_fraction: Share = 1.0
    adaptive: bool = False

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """A schedule for each low-resource language."""
        return self._schedules(languages, self.ramp_fraction, self.adaptive)


Weighting = Annotated[
    NoWeighting
    | ConstantWeighting
    | LinearProgressiveWeighting
    | DynamicWeighting
    | ProgressiveDynamicWeighting
    | FamilyWeighting,
    Field(discriminator="kind"),
]


Precision = Literal["fp32", "bf16", "fp16"]


class Optimizer(Section):
    """AdamW, with a linear warm-up and a decay."""

    learning_rate: Positive = 1e-5
    weight_decay: NotNegative = 0.01
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Positive = 1e-8
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["linear", "none"] = "linear"
    max_gradient_norm: Positive | None = Field(1.0, description="Clip the gradient's norm; null: never.")


class Training(Section):
    """One trial's fine-tuning."""

    steps: Count = Field(description="Optimizer steps.")
    batch_size: Count = Field(16, description="Utterances of one optimizer step, over all workers.")
    accumulation_steps: Count = Field(1, description="Micro-batches into which a worker's part of a batch is split.")
    precision: Precision = "fp32"
    encoder_context: Literal["full", "batch"] | Positive = Field(
        "full",
        description="What the encoder sees: the whole window (30 s); batch: as much as its longest utterance takes; "
        "or so many seconds, and longer utterances are left out.",
    )
    context_margin: NotNegative = Field(
        1.0, description="Seconds of silence that batch has behind its longest utterance."
    )
    context_bucket: Annotated[float, Field(ge=0.04)] = Field(
        0.2, description="Seconds that batch is rounded up to a multiple of."
    )
    context_jitter: NotNegative = Field(0.0, description="Seconds that a shorter context is longer by, at most.")
    full_context_share: Share = Field(0.0, description="Share of the steps that see the whole window all the same.")
    seed: Annotated[int, Field(ge=0)] = 0
    evaluate_every: Count | None = Field(None, description="Steps between evaluations; null: only at the end.")
    evaluate_at_start: bool = Field(False, description="Evaluate the original model, before the first step.")
    checkpoint_every: Count | None = Field(None, description="Steps between checkpoints; null: at evaluations.")
    log_every: Count = Field(10, description="Steps between reports of the loss.")
    max_failures: Annotated[int, Field(ge=0)] = Field(3, description="Times a lost worker group is started again.")
    optimizer: Optimizer = Optimizer()


class Evaluation(Section):
    """How dev, test and extra test sets are decoded, and what counts."""

    metric: Literal["wer_normalized", "wer_raw"] = "wer_normalized"
    normalizer: Literal["words", "whisper_basic"] = "words"
    batch_size: Count = Field(8, description="Utterances that a worker decodes at once.")
    precision: Precision | None = Field(None, description="null: as in training.")
    encoder_context: Literal["full", "batch"] = Field(
        "full",
        description="What the encoder sees at the last evaluation and on test; batch: as much as its longest "
        "utterance takes.",
    )
    context_margin: NotNegative = Field(
        DecodeSettings.context_margin,
        description="Seconds of silence that batch has behind its longest utterance; with less, a model that knows "
        "30 s alone repeats itself.",
    )
    both_contexts: bool = Field(False, description="At the end also decode with the other one, and report both.")
    encoder_context_on_the_way: Literal["full", "batch"] | None = Field(
        None, description="The same of the evaluations before; null: as at the end."
    )
    share_on_the_way: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Share of each language's dev utterances that they decode, the same ones each time."
    )
    identify_language: bool = Field(False, description="Also measure language-identification accuracy.")
    part: Literal["all", "search", "confirm"] = Field(
        "all", description="Of dev; a search with a confirm phase keeps search.confirm.dev_share back for it."
    )


class ConstraintLimits(Section):
    """How much worse a high-resource language may become: the larger of the two."""

    reference: Literal["baseline", "original"] | NotNegative | None = Field(
        None, description="What it is held against; a number is a WER in percent; null: as for all."
    )
    relative_tolerance: NotNegative | None = Field(None, description="Share of the reference's WER.")
    absolute_floor: NotNegative | None = Field(None, description="Points of WER (0.5: from 20.0 to 20.5 %).")


class Constraints(Section):
    """One named constraint for each high-resource language: WER - reference <= max(tolerance * reference, floor)."""

    reference: Literal["baseline", "original"] | NotNegative = "baseline"
    relative_tolerance: NotNegative = Field(0.0, description="Share of the reference's WER.")
    absolute_floor: NotNegative = Field(0.5, description="Points of WER.")
    margin: NotNegative = Field(
        0.0,
        description="Points of WER by which the search's limits are tighter than these, which the confirm phase has.",
    )
    languages: dict[Language, ConstraintLimits] = Field(default_factory=dict)


class Confirm(Section):
    """What follows the search: its best candidates trained again over new seeds, on speech that it did not see."""

    candidates: Annotated[int, Field(ge=0)] = Field(3, description="Best feasible trials; 0: no confirm phase.")
    seeds: Annotated[int, Field(ge=3)] = Field(3, description="Of baseline and candidates, paired; others than before.")
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(0.95, description="Of limits kept, and of the finding.")
    dev_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="Share of dev, by speaker, that only this phase decodes."
    )
    resamples: Annotated[int, Field(ge=100)] = Field(10_000, description="Of the bootstrap.")
    test: bool = Field(True, description="Open the test split at the end, once: for original, baseline and winner.")


class Search(Section):
    """The search over the file's distributions."""

    trials: Count | None = Field(20, description="null: all settings of a grid.")
    time_limit_s: Positive | None = Field(
        None, description="Seconds that the trials may take, all runs of the search added up; null: no limit."
    )
    at_time_limit: Literal["finish", "stop"] = Field(
        "finish", description="Trials that run when the time is over are finished, or stopped at their next report."
    )
    seed: Annotated[int, Field(ge=0)] = 0
    sampler: Literal["auto", "gp", "tpe", "random", "grid"] = Field(
        "auto",
        description="auto: tpe where trials are stopped early, gp (Gaussian process) where they are not; "
        "grid: every combination of choices, whole numbers and alternatives.",
    )
    early_stopping: bool = Field(
        False, description="Stop trials whose evaluations on the way are worse than others', feasible ones last."
    )
    reduction_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        3.0, description="With early_stopping: one trial in this many goes on from a rung, and how far rungs lie apart."
    )
    seeds: Count = Field(1, description="Seeds of each setting of a grid: training.seed, training.seed + 1, …")
    alternatives: dict[str, Annotated[dict[str, dict[str, Any]], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Named factors, each with named levels: changes to the file, {key path: value}.",
    )
    points: Literal["published", "none"] | list[dict[str, bool | int | float | str]] = Field(
        "published", description="Tried first: the paper's settings, none, or a list of {key path: value}."
    )
    baseline: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict, description="The baseline's value of each searched optimizer leaf, by key path."
    )
    baseline_seeds: Count = Field(1, description="Baseline runs: seeds training.seed, training.seed + 1, …")
    max_concurrent_trials: Count | None = Field(None, description="null: as many as the cluster can hold.")
    keep_models: Count = Field(
        3, description="Models of the search's best trials that stay; the others' are removed, but not their figures."
    )
    mlflow: Annotated[str, Field(pattern=_MLFLOW)] | None = Field(
        None, description="MLflow's tracking URI, such as http://server:5000 or sqlite:////data/mlflow.db; null: none."
    )
    constraints: Constraints = Constraints()
    confirm: Confirm = Confirm()


class Resources(Section):
    """What one trial takes."""

    workers: Count = 1
    cpus_per_worker: Positive = 1
    gpus_per_worker: NotNegative = 0
    loader_threads: Count = Field(2, description="Threads a worker decodes audio with.")
    prefetch: Count = Field(4, description="Micro-batches kept ready.")
    wait_s: NotNegative = Field(600, description="Seconds to wait for nodes that an autoscaler is to bring.")
    drivers_on: str | None = Field(
        None, description="Custom resource of the nodes that trials are steered from; null: the head node."
    )

    @property
    def threads_per_worker(self) -> int:
        """Of torch: as many as a worker has CPUs."""
        return max(1, int(self.cpus_per_worker))


class Experiment(Section):
    """One experiment file, with a value in every leaf."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: Model
    data: Data
    languages: Languages
    weighting: Weighting = NoWeighting()
    augmentation: Augmentation = Augmentation()
    training: Training
    evaluation: Evaluation = Evaluation()
    search: Search = Search()
    resources: Resources = Resources()
    storage: str = Field("runs", description="Folder or URI under which the run folder is made.")

    @property
    def slowest(self) -> float:
        """How many times as long an augmented copy may become."""
        stretch = self.augmentation.time_stretch
        acts = bool(self.augmented_languages) and stretch.probability > 0
        return 1.0 / (1.0 - stretch.rate * self.augmentation.strength) if acts else 1.0

    @property
    def decode_settings(self) -> DecodeSettings:
        """How dev, test and extra test sets are decoded."""
        evaluation = self.evaluation
        return DecodeSettings(
            language_tokens=self.languages.language_tokens,
            batch_size=evaluation.batch_size,
            precision=evaluation.precision or self.training.precision,
            normalizer=evaluation.normalizer,
            identify_language=evaluation.identify_language,
            encoder_context=evaluation.encoder_context,
            context_margin=evaluation.context_margin,
        )

    def schedules(self) -> dict[str, AlphaSchedule]:
        """Each low-resource language's alpha schedule."""
        return self.weighting.schedules(self.languages.low_resource)

    @property
    def augmented_languages(self) -> list[str]:
        """Whose utterances have augmented draws: nobody's where the augmentation is off."""
        if not self.augmentation.active:
            return []
        named = self.augmentation.languages
        return list(self.languages.low_resource if named is None else named)
