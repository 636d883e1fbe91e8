"""The JSON schema of experiment files: the models', with a distribution allowed where one may stand."""

from __future__ import annotations

import json
from collections.abc import Collection

from pydantic.json_schema import JsonSchemaValue

from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.schema import Experiment

_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_WHOLE_NUMBERS = {**_NUMBERS, "items": {"type": "integer"}}
_CHOICES = {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}, "minItems": 1}
_KINDS = {"uniform": _NUMBERS, "loguniform": _NUMBERS, "int": _WHOLE_NUMBERS, "choice": _CHOICES}
_DISTRIBUTION = {
    "title": "Distribution",
    "description": "What a search draws the value from: bounds, both included, or a choice.",
    "type": "object",
    "oneOf": [{"required": [kind]} for kind in _KINDS],
    "properties": _KINDS,
    "additionalProperties": False,
}
_OF_A_WEIGHTING = ("Weighting", "Alpha")  # how those models' names end
_OTHERS = {"Optimizer", "Lora", "Augmentation", *(type(own).__name__ for own in Augmentation().transforms.values())}
_NEVER_SEARCHED = ("kind", "scope", "languages", "preset", "folder", "targets")


def as_text() -> str:
    """Return the schema as a JSON document."""
    return json.dumps(experiment_schema(), indent=2, ensure_ascii=False) + "\n"


def experiment_schema() -> JsonSchemaValue:
    """Return the JSON Schema (2020-12) that each valid experiment file fulfils."""
    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    for name, model in definitions.items():
        if name.endswith(_OF_A_WEIGHTING) or name in _OTHERS:
            _allow_distributions(model["properties"])
    sampling = definitions["Sampling"]["properties"]
    _allow_distributions(sampling, ("temperature",))
    for shares in sampling["shares"]["anyOf"]:
        _allow_distributions(shares.get("patternProperties", {}))
    definitions["Distribution"] = _DISTRIBUTION
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _allow_distributions(properties: JsonSchemaValue, only: Collection[str] = ()) -> None:
    for name, leaf in properties.items():
        if name not in _NEVER_SEARCHED and name in (only or properties) and "$ref" not in leaf:  # a section is no leaf
            notes = {key: leaf.pop(key) for key in ("title", "description", "default") if key in leaf}
            properties[name] = {**notes, "anyOf": [leaf, {"$ref": "#/$defs/Distribution"}]}
