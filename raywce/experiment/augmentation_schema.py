"""The file's `augmentation` section: which draws are augmented, how often, and how strongly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from raywce.experiment.section import Finite, Language, NotNegative, Positive, Section, Share

# arXiv 2409.16954: time stretch by 0.9 to 1.1, pitch by up to 4 semitones, gain by up to 6 dB, Gaussian noise of
# amplitude 0.005 to 0.015, one augmented copy.
_PAPER: dict[str, Any] = {
    "copies": 1,
    "time_stretch": {"probability": 0.2, "rate": 0.1},
    "pitch_shift": {"probability": 0.2, "semitones": 4.0},
    "gain": {"probability": 0.1, "decibels": 6.0},
    "white_noise": {"probability": 0.2, "amplitude": 0.01},
}


class Transform(Section):
    """Changes to an utterance's audio or features."""

    probability: Share = Field(0.0, description="Share of the augmented draws to which it is applied.")


class TimeStretch(Transform):
    """Faster or slower speech at the same pitch."""

    rate: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1,
        description="Largest change of the speed, which is drawn uniformly from 1 - rate to 1 + rate; above 1 is "
        "faster. Never beyond the model's window.",
    )


class PitchShift(Transform):
    """A higher or lower voice at the same length."""

    semitones: Annotated[float, Field(ge=0, le=12)] = Field(
        4.0, description="Largest shift, up or down; drawn uniformly."
    )


class ImpulseResponse(Transform):
    """Speech as it sounds in a room or over a device: convolved with a recording."""

    wet: Share = Field(1.0, description="Share of the convolved sound in the result.")
    folder: str | None = Field(None, description="Recordings of impulse responses: WAV, FLAC, Ogg, Opus or MP3.")


class Gain(Transform):
    """Louder or softer speech."""

    decibels: NotNegative = Field(6.0, description="Largest gain, up or down; drawn uniformly.")


class BackgroundNoise(Transform):
    """A piece of a recording in the background."""

    snr: Finite = Field(
        15.0,
        description="Mean signal-to-noise ratio in dB over the utterance's true length; each draw is uniform within "
        "5 dB of it.",
    )
    folder: str | None = Field(None, description="Recordings of noise: WAV, FLAC, Ogg, Opus or MP3.")


class WhiteNoise(Transform):
    """Gaussian noise, of an amplitude or at a signal-to-noise ratio."""

    amplitude: Positive | None = Field(
        0.01,
        description="Mean amplitude, full scale being 1; each draw is uniform from half of it to one and a half (the "
        "paper's 0.005 to 0.015).",
    )
    snr: Finite | None = Field(
        None, description="Mean signal-to-noise ratio in dB, drawn uniformly within 5 dB; needs amplitude: null."
    )


class SpecAugment(Transform):
    """Masks over the features, in time and in frequency."""

    time_masks: Annotated[int, Field(ge=0)] = Field(2, description="Masks in time.")
    time_width: Share = Field(0.05, description="Widest mask, as a share of the utterance's own frames.")
    frequency_masks: Annotated[int, Field(ge=0)] = Field(2, description="Masks in frequency.")
    frequency_width: Share = Field(0.2, description="Widest mask, as a share of the mel bins.")


class Augmentation(Section):
    """Augmented draws of some languages' utterances; without a probability above 0 there are none."""

    preset: Literal["paper"] | None = Field(
        None, description="paper: arXiv 2409.16954's values for what is not written here; null: none."
    )
    languages: Annotated[list[Language], Field(min_length=1)] | None = Field(
        None, description="Whose audio; null: the low-resource languages'."
    )
    copies: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        1,
        description="n: n of n + 1 draws of these languages are augmented, and their temperature counts grow with it; "
        "all: every draw; 0: none.",
    )
    strength: NotNegative = Field(1.0, description="Scales all intensities together; 0 is off.")
    time_stretch: TimeStretch = TimeStretch()
    pitch_shift: PitchShift = PitchShift()
    impulse_response: ImpulseResponse = ImpulseResponse()
    gain: Gain = Gain()
    background_noise: BackgroundNoise = BackgroundNoise()
    white_noise: WhiteNoise = WhiteNoise()
    spec_augment: SpecAugment = SpecAugment()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, written: object) -> object:
        """Return the preset's values beside what is written; a value of a wrong type stays, to be reported as such."""
        if not isinstance(written, dict) or written.get("preset") != "paper":
            return written
        filled = dict(written)
        for key, value in _PAPER.items():
            own = written.get(key, {} if isinstance(value, dict) else value)
            filled[key] = {**value, **own} if isinstance(value, dict) and isinstance(own, dict) else own
        return filled

    @property
    def transforms(self) -> dict[str, Transform]:
        """The transforms by their keys, in the order of the file."""
        return {key: section for key, section in self if isinstance(section, Transform)}

    @property
    def active(self) -> bool:
        """Whether any draw can sound different."""
        acts = any(transform.probability > 0 for transform in self.transforms.values())
        return acts and self.strength > 0 and self.copies != 0

    @property
    def folders(self) -> dict[str, str | None]:
        """The folders of recordings, by the keys of the transforms that need one."""
        return {"impulse_response": self.impulse_response.folder, "background_noise": self.background_noise.folder}
