"""Models of an experiment file with concrete values: every other part is configured by them.

Distributions are taken out of the file before it is checked by these models (`raywce.experiment.space`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from raywce.evaluation.metric import Metrics, Name
from raywce.evaluation.settings import DecodeSettings
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.section import Count, Language, NotNegative, Positive, Section, Share
from raywce.weighting import AlphaSchedule

Tracker = Literal["tensorboard", "mlflow", "wandb"]

# Of dev, where the file says none. They show where a training is heading and stop what is far behind; the last
# evaluation, of all of dev, is what counts. A quarter has twice the standard error of the whole. Among 200 utterances,
# two trainings' difference has one of about 1.5 points of WER: with fewer it would say little.
_INTERMEDIATE_SHARE, _INTERMEDIATE_LEAST = 0.25, 200


class Lora(Section):
    """LoRA: small trained matrices beside weights that stay as they are, by PEFT (the extra raywce[lora])."""

    rank: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Rank of the matrices; 0: no LoRA, all weights are trained. Learning rates of about ten times "
        "those of full training are usual.",
    )
    alpha: Positive = Field(16, description="The matrices' output is scaled by alpha / rank.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout on the matrices' input.")
    targets: Annotated[list[Literal["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]], Field(min_length=1)] = (
        Field(
            ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
            description="Linear layers that have them, in encoder and decoder; with freeze_encoder in the decoder.",
        )
    )


class Model(Section):
    """The checkpoint that is fine-tuned."""

    checkpoint: str = Field(
        description="A multilingual Whisper: a transformers folder, a Hub id such as openai/whisper-small, or "
        "demo:micro-whisper. What its generation_config.json lacks for the prompts is taken from its tokenizer."
    )
    revision: str | None = Field(None, description="Git revision of a Hub id; null: its newest.")
    freeze_encoder: bool = Field(
        False,
        description="Train the decoder only. A node then computes an utterance's encoder states once for all "
        "trainings, and keeps them in data.cache, where its audio is not augmented, the encoder has no dropout and the "
        "disk has room.",
    )
    gradient_checkpointing: bool = Field(False, description="Take less memory, for about a third more time.")
    lora: Lora = Lora()


class Sampling(Section):
    """Each language's share of the utterances in a batch."""

    temperature: Positive = Field(
        1.0, description="Shares grow as n^(1/temperature): 1 as in the data, above 1 more of small languages."
    )
    shares: dict[Language, Positive] | None = Field(
        None, description="Explicit shares, one for each language, scaled to a sum of 1; null: by temperature."
    )
    both_kinds: bool | Literal["auto"] = Field(
        "auto",
        description="Put low- and high-resource utterances into every batch: a side whose share is less than one "
        "utterance of a batch is raised to 1/batch_size, whatever temperature and shares say. auto: in all trainings, "
        "also the baseline's, where the weight of any trial can be adaptive.",
    )
    duration_window: Count = Field(
        1,
        description="Steps over which utterances are sorted by duration into batches, which come in random order; the "
        "languages' shares stay. 1: within a batch only.",
    )


class Data(Section):
    """Prepared speech."""

    folder: str = Field(description="Folder or URI that `raywce prepare` wrote, or demo:six-languages.")
    cache: str = Field(
        "~/.cache/raywce",
        description="Where a node keeps its Arrow copy of the data, and the demo corpus: a local disk.",
    )
    sampling: Sampling = Sampling()
    timestamps: Share = Field(
        0.0,
        description="Share of the training's utterances whose labels have time stamps, their start and end, so that "
        "Whisper keeps writing them; augmented ones have none.",
    )
    extra_test: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], str] = Field(
        default_factory=dict,
        description="More test sets, such as of another domain: prepared folder or URI by name; not dev, not test.",
    )


class NewToken(Section):
    """A token that is added to the checkpoint for a language."""

    new_like: Language = Field(description="The language whose token it begins as.")


class Languages(Section):
    """The languages to improve, those that must not become worse, and those that are measured only."""

    low_resource: list[Language] = Field(
        min_length=1,
        description="Languages to improve: a search minimises the mean of their rates; where some are WERs and some "
        "CERs (evaluation.metric: auto), the mean of their relative changes from the baseline.",
    )
    high_resource: list[Language] = Field(
        default_factory=list, description="Must not become worse: each has a constraint of its own."
    )
    watched: list[Language] = Field(
        default_factory=list,
        description="Not trained on, but decoded with the others: each evaluation takes longer by their dev. They need "
        "no train, and have a limit only where search.constraints.languages names them.",
    )
    language_tokens: dict[Language, Language | NewToken] = Field(
        default_factory=dict,
        description="For a language that Whisper has no token for: the language whose token it takes, {ast: es}, or "
        "the one that a new token of its own begins as, {ast: {new_like: es}}.",
    )

    @property
    def all(self) -> list[str]:
        """The languages that are trained on, low-resource languages first."""
        return [*self.low_resource, *self.high_resource]

    @property
    def decoded(self) -> list[str]:
        """The languages that are measured: those that are trained on, then the watched ones."""
        return [*self.all, *self.watched]

    @property
    def parts(self) -> list[str]:
        """The folders of prepared speech that a training reads, such as train/gl."""
        return [*(f"train/{language}" for language in self.all), *(f"dev/{language}" for language in self.decoded)]

    def token_of(self, language: str) -> str:
        """Return the language code whose token `language` is trained and decoded with."""
        return self.borrowed_tokens.get(language, language)

    @property
    def borrowed_tokens(self) -> dict[str, str]:
        """The languages that take another's token, with that one."""
        return {name: token for name, token in self.language_tokens.items() if isinstance(token, str)}

    @property
    def new_tokens(self) -> dict[str, str]:
        """The languages that get a token of their own, with the one whose it begins as."""
        return {name: token.new_like for name, token in self.language_tokens.items() if isinstance(token, NewToken)}


Scope = Annotated[
    Literal["utterance", "batch"],
    Field(
        description="utterance: the method; batch: as the released script, which multiplies the whole batch: by its "
        "mean weight, or by the low-resource weight itself where that is adaptive."
    ),
]


RatioCap = Annotated[
    Annotated[float, Field(ge=1, allow_inf_nan=False)] | None,
    Field(
        description="Largest loss ratio that the gate sees; null: the paper's gate. A ratio above alpha is the weight "
        "itself, so that without a cap a small alpha may make no difference."
    ),
]


class ConstantAlpha(Section):
    """A weight of one low-resource language's own."""

    alpha: Positive = Field(description="The language's own alpha.")


class RampAlpha(Section):
    """The two ends of one low-resource language's own ramp."""

    alpha_initial: Positive = Field(description="The language's own alpha_initial.")
    alpha_final: Positive = Field(description="The language's own alpha_final.")


class NoWeighting(Section):
    """Plain fine-tuning: every weight is 1."""

    kind: Literal["none"] = "none"

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return weight 1 for each."""
        return {language: AlphaSchedule() for language in languages}

    @property
    def scope(self) -> Scope:
        """The default: both scopes are the same at weight 1."""
        return "utterance"


class _Constant(Section):
    alpha: Positive = Field(description="Weight of the low-resource languages, from the first step on.")
    scope: Scope = "utterance"
    languages: dict[Language, ConstantAlpha] = Field(
        default_factory=dict, description="Weights of single low-resource languages; the others have the one above."
    )

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return a schedule for each low-resource language."""
        alphas = {language: self.languages.get(language, self).alpha for language in languages}
        return {language: AlphaSchedule(alpha, alpha) for language, alpha in alphas.items()}


class ConstantWeighting(_Constant):
    """The same weight from the first step to the last."""

    kind: Literal["constant"]


class DynamicWeighting(_Constant):
    """The paper's dynamic adaptation: a weight gated by the loss ratio of the global batch."""

    kind: Literal["dynamic"]
    ratio_cap: RatioCap = None

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return a schedule for each low-resource language."""
        constant = super().schedules(languages)
        return {of: replace(one, adaptive=True, ratio_cap=self.ratio_cap) for of, one in constant.items()}


class _Ramp(Section):
    alpha_initial: Positive = Field(description="Weight at ramp_start.")
    alpha_final: Positive = Field(description="Weight at the end of the ramp and after it.")
    ramp_start: Share = Field(
        0.0, description="Share of the steps before which the weight is 1 (the paper's N_min / N_total)."
    )
    scope: Scope = "utterance"
    languages: dict[Language, RampAlpha] = Field(
        default_factory=dict, description="Weights of single low-resource languages; the others have the one above."
    )

    def _schedules(
        self, languages: list[str], fraction: float, adaptive: bool, ratio_cap: float | None = None
    ) -> dict[str, AlphaSchedule]:
        ends = {language: self.languages.get(language, self) for language in languages}
        return {
            language: AlphaSchedule(end.alpha_initial, end.alpha_final, self.ramp_start, fraction, adaptive, ratio_cap)
            for language, end in ends.items()
        }


class LinearProgressiveWeighting(_Ramp):
    """The paper's linear progressive weight: it grows until the last step."""

    kind: Literal["linear_progressive"]

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return a schedule for each low-resource language."""
        return self._schedules(languages, 1.0, adaptive=False)


class ProgressiveDynamicWeighting(_Ramp):
    """A ramp whose weight is gated by the loss ratio."""

    kind: Literal["progressive_dynamic"]
    ramp_fraction: Share = Field(1.0, description="Share of the steps after ramp_start that the ramp takes.")
    ratio_cap: RatioCap = None

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return a schedule for each low-resource language."""
        return self._schedules(languages, self.ramp_fraction, adaptive=True, ratio_cap=self.ratio_cap)


class FamilyWeighting(_Ramp):
    """The whole family, flat: what a search over all strategies at once moves in."""

    kind: Literal["family"]
    ramp_fraction: Share = Field(1.0, description="Share of the steps after ramp_start that the ramp takes.")
    adaptive: bool = Field(False, description="Gate the weight by the loss ratio of the global batch.")
    ratio_cap: RatioCap = None

    def schedules(self, languages: list[str]) -> dict[str, AlphaSchedule]:
        """Return a schedule for each low-resource language."""
        return self._schedules(languages, self.ramp_fraction, self.adaptive, self.ratio_cap)


Weighting = Annotated[
    NoWeighting
    | ConstantWeighting
    | LinearProgressiveWeighting
    | DynamicWeighting
    | ProgressiveDynamicWeighting
    | FamilyWeighting,
    Field(discriminator="kind"),
]

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]  # those of `raywce.precision`, which needs torch


class Optimizer(Section):
    """AdamW, with a linear warm-up and a decay."""

    learning_rate: Positive = Field(1e-5, description="Learning rate at the end of the warm-up.")
    weight_decay: NotNegative = Field(0.01, description="AdamW's weight decay.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="AdamW's beta1.")
    beta2: Annotated[float, Field(ge=0, lt=1)] = Field(0.999, description="AdamW's beta2.")
    epsilon: Positive = Field(1e-8, description="AdamW's epsilon.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps in which the learning rate grows from 0.")
    decay: Literal["linear", "none"] = Field("linear", description="linear: to 0 at the last step; none: it stays.")
    max_gradient_norm: Positive | None = Field(1.0, description="Clip the gradient's norm; null: never.")


class Training(Section):
    """One trial's fine-tuning."""

    steps: Count = Field(2000, description="Optimizer steps.")
    batch_size: Count = Field(16, description="Utterances of one optimizer step, over all workers.")
    accumulation_steps: Count = Field(1, description="Micro-batches into which a worker's part is split: less memory.")
    precision: Precision = Field(
        "fp32",
        description="tf32: a GPU rounds the inputs of products and convolutions; bf16 and fp16: mixed, with weights in "
        "fp32. auto: bf16 where the card (compute capability 8.0 or later) or the processor (AMX, AVX512-BF16) has it, "
        "else fp32. fp16 leaves out steps whose gradients overflow; a loss that overflows ends the trial.",
    )
    encoder_context: Literal["full", "batch"] | Positive = Field(
        "full",
        description="What the encoder sees: the whole window (30 s); batch: as much as the batch's longest utterance "
        "takes, and context_margin; or so many seconds, and longer utterances are left out.",
    )
    context_margin: NotNegative = Field(
        1.0, description="Seconds of silence behind the longest utterance with encoder_context: batch."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Fixes the order of the data and every random draw.")
    evaluate_every: Count | None = Field(None, description="Steps between evaluations; null: only at the end.")
    evaluate_at_start: bool = Field(False, description="Evaluate the original model, before the first step.")
    checkpoint_every: Count | None = Field(None, description="Steps between checkpoints; null: at evaluations.")
    log_every: Count = Field(10, description="Steps between reports of the loss.")
    max_failures: Annotated[int, Field(ge=0)] = Field(3, description="Times a lost worker group is started again.")
    optimizer: Optimizer = Optimizer()


class Evaluation(Section):
    """Decoding of dev, test and extra test sets, and the metric."""

    metric: Name = Field(
        "wer_normalized",
        description="The rate that is minimised and constrained: of words or characters, normalised or raw. auto: "
        "cer_normalized for languages without spaces between words (zh, yue, ja, th, lo, km, my, bo and the like), "
        "wer_normalized for others.",
    )
    capped: bool = Field(
        True,
        description="An utterance counts at most as many errors as its reference has words (for a CER, characters), "
        "so that none whose decoding ran away decides a search; false: the plain rate.",
    )
    normalizer: Literal["words", "whisper_basic"] = Field(
        "words",
        description="words: lower-cased, without punctuation; diacritics, hyphens, apostrophes and the Catalan middle "
        "dot inside words stay; folded by language: Turkish and Azeri I, U+02BB and U+02BC, Arabic and Persian yeh and "
        "kaf, tatweel, the cedilla in Romanian, Malayalam chillus, Bengali khanda ta, Armenian marks within words; "
        "digits of all scripts are 0 to 9. whisper_basic: Whisper's own, which keeps é but splits words of Hindi, Thai "
        "and others at their vowel signs. Never the English one.",
    )
    batch_size: Count = Field(
        8,
        description="Utterances that a worker encodes at once. As some end, others join them: up to twice as many are "
        "decoded together, and with encoder_context: batch the more the shorter they are, in the same memory.",
    )
    precision: Precision | None = Field(None, description="null: as in training.")
    encoder_context: Literal["full", "batch"] = Field(
        "full",
        description="What the encoder sees on dev and test: the whole window (30 s); batch: as much as the batch's "
        "longest utterance takes, and context_margin.",
    )
    context_margin: NotNegative = Field(
        DecodeSettings.context_margin,
        description="Seconds of silence behind the longest utterance with encoder_context: batch; with less, a model "
        "that was trained at 30 s alone repeats itself.",
    )
    intermediate_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of each language's dev utterances that intermediate evaluations decode, short and long ones "
        "alike, the same ones each time; those at start and end decode all. null: a quarter, but at least 200, or all "
        "there are. 1 where raywce train is to find the best checkpoint, which is chosen on all of dev.",
    )
    stop_loops: bool = Field(
        False,
        description="Stop decoding that repeats a phrase without end, to save time: such an utterance counts as wholly "
        "wrong, and the plain rate is a lower bound.",
    )
    identify_language: bool = Field(False, description="Also measure language-identification accuracy.")
    timestamps: bool = Field(
        False,
        description="In a confirm phase, decode the test splits with time stamps too, to see whether they are written.",
    )
    robustness: bool = Field(
        False,
        description="In a confirm phase, also measure original, baseline and winner on silence, noise and minutes of "
        "the test split's speech in one piece.",
    )
    part: Literal["all", "search", "confirm"] = Field(
        "all",
        description="Part of dev that is decoded. A search with a confirm phase sets it phase by phase, and wants all.",
    )

    def intermediate_count(self, utterances: int) -> int:
        """Return how many of a language's dev utterances an intermediate evaluation decodes."""
        if self.intermediate_share is not None:
            return math.ceil(self.intermediate_share * utterances)
        return min(utterances, max(math.ceil(_INTERMEDIATE_SHARE * utterances), _INTERMEDIATE_LEAST))


class ConstraintLimits(Section):
    """The allowed rise of one language's rate, its WER or CER by evaluation.metric: the larger of the two."""

    reference: Literal["baseline", "original"] | NotNegative | None = Field(
        None, description="What the rate is compared with; a number is a rate in percent; null: as for all."
    )
    relative_tolerance: NotNegative | None = Field(None, description="Share of the reference's rate; null: as for all.")
    absolute_floor: NotNegative | None = Field(None, description="Points of the rate; null: as for all.")


class RobustnessLimits(Section):
    """Points by which the model to take may be worse than the baseline's; null: no limit.

    A confirmed winner that breaks one ends the search with exit code 3.
    """

    nothing: NotNegative | None = Field(
        None, description="Rise of the share of clips of silence and noise that it says something to."
    )
    long_form: NotNegative | None = Field(
        None, description="Rise of the WER of long-form speech: minutes in one piece."
    )
    loops: NotNegative | None = Field(None, description="Rise of the share of test utterances that end in a loop.")
    language_identification: NotNegative | None = Field(
        None, description="Fall of the share of test utterances whose language is recognised."
    )
    timestamps: NotNegative | None = Field(
        None, description="Fall of the share of test utterances whose text has all of its time stamps."
    )


class Constraints(Section):
    """One named constraint for each language with a limit: rate - reference <= max(tolerance * reference, floor).

    The rate is the language's own WER or CER, by evaluation.metric.
    Each high-resource language has one, and each watched language that `languages` names.
    """

    reference: Literal["baseline", "original"] | NotNegative = Field(
        "baseline", description="What the rate is compared with; a number is a rate in percent."
    )
    relative_tolerance: NotNegative = Field(0.0, description="Allowed rise, as a share of the reference's rate.")
    absolute_floor: NotNegative = Field(
        0.5, description="Allowed rise in points of the rate (0.5: from 20.0 to 20.5 %), where that share is less."
    )
    languages: dict[Language, ConstraintLimits] = Field(
        default_factory=dict,
        description="Limits of single high-resource or watched languages; {} takes all from above.",
    )
    robustness: RobustnessLimits = RobustnessLimits()


class Confirm(Section):
    """The confirm phase: candidates, from safe to bold, over new seeds on speech that the search did not see."""

    candidates: Annotated[int, Field(ge=0, le=3)] = Field(
        3, description="Settings that are trained, at most; 0: no confirm phase."
    )
    seeds: Annotated[int, Field(ge=3)] = Field(
        5,
        description="New seeds of each candidate, the second half of them only where they can still decide; of the "
        "baseline, the root of `candidates` times as many. Not given: by search.trainings.",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(0.95, description="Confidence of the finding.")
    dev_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="Share of dev, by whole speakers, that only this phase decodes."
    )
    resamples: Annotated[int, Field(ge=100)] = Field(10_000, description="Resamples of the bootstrap.")
    test: bool = Field(True, description="Open the test splits at the end, for original, baseline, winner.")

    def of_baseline(self, seeds: int) -> int:
        """Return the baseline's seeds beside so many of each candidate: all are compared with it (Dunnett 1955)."""
        return round(seeds * math.sqrt(self.candidates))

    def of_all(self, seeds: int) -> int:
        """Return the trainings of baseline and candidates with so many seeds of each candidate."""
        return self.candidates * seeds + self.of_baseline(seeds)

    @property
    def trainings(self) -> int:
        """The most trainings that the phase takes."""
        return self.of_all(self.seeds)


class Search(Section):
    """The search over the file's distributions."""

    trainings: Count = Field(
        57,
        description="Budget of the whole search: trainings of baseline, trials and confirm phase, shared out over what "
        "search.trials, search.baseline_seeds and search.confirm.seeds leave open. A grid has its own number.",
    )
    trials: Count | None = Field(
        None, description="Trials of the search; null: what search.trainings leaves, or all settings of a grid."
    )
    time_limit_s: Positive | None = Field(
        None, description="Seconds that the trials may take, all runs of the search added up; null: no limit."
    )
    at_time_limit: Literal["finish", "stop"] = Field(
        "finish", description="Trials that run when the time is over are finished, or stopped at their next report."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Seed of the sampler and the bootstrap.")
    sampler: Literal["auto", "noise_aware", "gp", "tpe", "random", "grid"] = Field(
        "auto",
        description="auto: tpe where trials are stopped early, noise_aware where they are not; noise_aware: a Gaussian "
        "process that knows how much rates differ between trainings and speakers; gp: Optuna's; "
        "grid: every combination of choices, whole numbers and alternatives.",
    )
    early_stopping: bool = Field(
        False, description="Stop trials whose intermediate evaluations are worse than others', feasible ones last."
    )
    reduction_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        3.0,
        description="With early_stopping: one trial in so many passes a rung, and each rung is so many times as far.",
    )
    seeds: Count = Field(1, description="Seeds of each setting of a grid: training.seed, training.seed + 1, and so on.")
    alternatives: dict[str, Annotated[dict[str, dict[str, Any]], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Named factors, each with named levels: changes to the file, {key path: value}.",
    )
    points: Literal["published", "none"] | list[dict[str, bool | int | float | str | None]] = Field(
        "published", description="Tried first: the paper's settings, none, or a list of {key path: value}."
    )
    baseline: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict,
        description="The baseline's value of each searched key of training.optimizer, data.sampling and model.lora, "
        "by key path.",
    )
    baseline_seeds: Count = Field(
        6,
        description="Baseline runs, over as many seeds; not given: by search.trainings, 6 to 8; of a grid, its seeds.",
    )
    max_concurrent_trials: Count | None = Field(
        None,
        description="Trials at once; null: as many as fit. With a number, the same trials follow whichever ends first.",
    )
    keep_models: Count = Field(
        3, description="Models of the search's best trials that stay; the others' are removed, but not their figures."
    )
    trackers: list[Tracker] = Field(
        ["tensorboard"],
        description="Where each trial's figures go beside the run folder's tables. mlflow wants MLFLOW_TRACKING_URI, "
        "such as http://server:5000 or sqlite:////data/mlflow.db; wandb takes WANDB_API_KEY, WANDB_MODE and the like.",
    )
    constraints: Constraints = Constraints()
    confirm: Confirm = Confirm()


class Resources(Section):
    """CPUs, GPUs and workers of one trial."""

    workers: Count = Field(1, description="Workers of a trial, which share each batch.")
    cpus_per_worker: Positive = Field(1, description="CPUs of a worker: torch has as many threads.")
    gpus_per_worker: NotNegative = Field(
        0,
        description="GPUs of a worker; 0 trains on the CPU. Below 1, with one worker: the share of a GPU, and of its "
        "memory, that a trial has, so that several trials run on one.",
    )
    loader_threads: Count = Field(2, description="Threads a worker decodes audio with.")
    prefetch: Count = Field(4, description="Micro-batches kept ready.")
    wait_s: NotNegative = Field(600, description="Seconds to wait for an autoscaler's nodes, without room for a trial.")
    drivers_on: str | None = Field(
        None,
        description="Custom resource of the nodes that run the trials' drivers; null: the head node. A trial with one "
        "worker has no driver beside it.",
    )

    @property
    def alone(self) -> bool:
        """Whether a trial has one worker: the process that drives it, in which the next trial follows."""
        return self.workers == 1

    @property
    def threads_per_worker(self) -> int:
        """Threads of torch: as many as a worker has CPUs."""
        return max(1, int(self.cpus_per_worker))


class Experiment(Section):
    """One experiment file, with a value in every leaf."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the run folder, <storage>/<name>."
    )
    model: Model
    data: Data
    languages: Languages
    weighting: Weighting = NoWeighting()
    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    search: Search = Search()
    resources: Resources = Resources()
    storage: str = Field("runs", description="Folder or URI under which the run folder is made.")

    @property
    def slowest(self) -> float:
        """The factor by which an augmented copy may become longer."""
        stretch = self.augmentation.time_stretch
        acts = bool(self.augmented_languages) and stretch.probability > 0
        return 1.0 / (1.0 - stretch.rate * self.augmentation.strength) if acts else 1.0

    @property
    def decode_settings(self) -> DecodeSettings:
        """Settings of decoding of dev, test and extra test sets."""
        evaluation = self.evaluation
        return DecodeSettings(
            language_tokens=self.languages.borrowed_tokens,
            batch_size=evaluation.batch_size,
            precision=evaluation.precision or self.training.precision,
            normalizer=evaluation.normalizer,
            identify_language=evaluation.identify_language,
            encoder_context=evaluation.encoder_context,
            context_margin=evaluation.context_margin,
            stop_loops=evaluation.stop_loops,
        )

    @property
    def metrics(self) -> Metrics:
        """The rates that are minimised, constrained and claimed."""
        return metrics_of(self.evaluation, self.languages)

    @property
    def by_plain_rate(self) -> Experiment:
        """The same experiment, judged by the plain rates."""
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update={"capped": False})})

    @property
    def limited_languages(self) -> list[str]:
        """The languages with a limit: the high-resource ones, and the watched ones that the constraints name."""
        named = self.search.constraints.languages
        watched = [language for language in self.languages.watched if language in named]
        return [*self.languages.high_resource, *watched]

    def schedules(self) -> dict[str, AlphaSchedule]:
        """Return the alpha schedule of each low-resource language."""
        return self.weighting.schedules(self.languages.low_resource)

    @property
    def augmented_languages(self) -> list[str]:
        """The languages with augmented draws: none where the augmentation is off."""
        if not self.augmentation.active:
            return []
        named = self.augmentation.languages
        return list(self.languages.low_resource if named is None else named)


def metrics_of(evaluation: Evaluation, languages: Languages) -> Metrics:
    """Return the rate of each language."""
    return Metrics(evaluation.metric, evaluation.capped, tuple(languages.low_resource), tuple(languages.decoded))


Sections = Mapping[str, Any]
"""Top-level sections of a file by name; those that don't hold may be missing."""
