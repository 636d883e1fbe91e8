import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raywce.demo.espeak import Espeak
from raywce.errors import InputError

loader = pytest.importorskip("espeakng_loader")

PACKAGE = Path(loader.__file__).parent
TEXT = "A xente do xardín colleu unha laranxa."
SCRIPT = f"""
import hashlib
from raywce.demo.espeak import Espeak
espeak = Espeak()
for voice in ("an+f2", "an+sandro", "an+klatt2"):
    print(hashlib.sha256(espeak.speak({TEXT!r}, voice, 50, 175).tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def spoken_in_a_process(**environment: str) -> str:
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=os.environ | environment, capture_output=True, check=True)
    assert run.stderr == b""
    return run.stdout.decode()


def fundamental(samples: np.ndarray, rate: int) -> float:
    """The median over voiced frames of the autocorrelation's first peak, hertz."""
    size = rate // 20
    found = []
    for start in range(0, len(samples) - size, size // 2):
        frame = samples[start : start + size].astype(float)
        frame -= frame.mean()
        correlation = np.correlate(frame, frame, "full")[size - 1 :]
        lags = slice(rate // 400, rate // 60)
        if correlation[lags].max() > 0.6 * correlation[0] > 0:
            found.append(rate / (lags.start + correlation[lags].argmax()))
    return float(np.median(found))


def test_speech_comes_out_at_a_speaking_pace(espeak: Espeak) -> None:
    samples = espeak.speak(TEXT, "an+m3", 50, 175)
    assert samples.dtype == np.int16
    assert 1.5 < len(samples) / espeak.sample_rate < 4
    assert np.abs(samples).max() > 3000


def test_a_higher_speed_is_shorter(espeak: Espeak) -> None:
    slow, fast = (len(espeak.speak(TEXT, "an+m3", 50, speed)) for speed in (150, 200))
    assert 1.15 < slow / fast < 1.45


def test_pitch_moves_the_fundamental_and_women_speak_higher(espeak: Espeak) -> None:
    low, high = (fundamental(espeak.speak(TEXT, "an+m3", pitch, 175), espeak.sample_rate) for pitch in (25, 75))
    woman = fundamental(espeak.speak(TEXT, "an+f2", 50, 175), espeak.sample_rate)
    assert 70 < low < high / 1.2
    assert woman > 1.3 * (low + high) / 2


def test_variants_and_languages_sound_different(espeak: Espeak) -> None:
    voices = ("an+m3", "an+m7", "es+m3", "pt+m3", "fr+m3", "de+m3", "en+m3")
    digests = {hashlib.sha256(espeak.speak("Marta ten un can.", voice, 50, 175).tobytes()).digest() for voice in voices}
    assert len(digests) == len(voices)


@pytest.mark.parametrize("voice", ["an+nobody", "zz+m3", "zz"])
def test_an_unknown_voice_or_variant_is_an_error_not_another_voice(espeak: Espeak, voice: str) -> None:
    with pytest.raises(InputError, match=r"espeak-ng: a (voice|variant) must be"):
        espeak.speak(TEXT, voice, 50, 175)


def test_processes_speak_alike_breath_included() -> None:
    assert spoken_in_a_process() == spoken_in_a_process(PADDING="x" * 1000)


def test_a_long_path_to_the_voices_is_no_matter_and_nothing_is_left(tmp_path: Path) -> None:
    long, temporary = tmp_path / ("x" * 120) / ("y" * 120), tmp_path / "t"
    long.mkdir(parents=True)
    temporary.mkdir()
    (long / PACKAGE.name).symlink_to(PACKAGE, target_is_directory=True)
    path = os.pathsep.join([str(long), *filter(None, [os.environ.get("PYTHONPATH")])])
    assert spoken_in_a_process(PYTHONPATH=path, TMPDIR=str(temporary)) == spoken_in_a_process()
    assert not list(temporary.iterdir())


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r"no espeakng_loader\. Run pip install 'raywce\[demo\]'"):
        Espeak()


def test_a_wheel_without_voices_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(InputError, match="must have its voices"):
        Espeak()


def test_a_library_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "libespeak-ng.so"
    broken.write_text("no library")
    monkeypatch.setattr(loader, "get_library_path", lambda: str(broken))
    with pytest.raises(InputError, match="its library must be loadable"):
        Espeak()
