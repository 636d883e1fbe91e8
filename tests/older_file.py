"""The experiment file of a run folder, as the version wrote it whose evaluations had two encoder contexts."""

from __future__ import annotations

from raywce.experiment import text
from raywce.experiment.validation import put

_OF_ITS_OWN = {
    "training.context_bucket": 0.2,
    "training.context_jitter": 0.0,
    "training.full_context_share": 0.0,
    "evaluation.both_contexts": False,
    "evaluation.encoder_context_on_the_way": None,
    "evaluation.share_on_the_way": 1.0,
    "search.constraints.margin": 0.0,
}


def older(written: str, **values: object) -> str:
    """Put that version's keys in; `values` are others than their defaults, dots as double underscores."""
    tree = text.parse(written, "experiment.yaml")
    tree["evaluation"].pop("intermediate_share", None)
    return text.write(put(tree, _OF_ITS_OWN | {path.replace("__", "."): value for path, value in values.items()}))
