"""espeak-ng through ctypes: text in, samples out; the library and its voices come from the espeakng-loader wheel."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import numpy.typing as npt

from raywce.errors import fail

# From speak_lib.h of espeak-ng 1.52.
_SYNCHRONOUS, _DONT_EXIT = 2, 1 << 15
_CHARACTERS, _UTF8 = 1, 1
_RATE, _PITCH = 1, 3
_LONGEST_PATH = 120  # bytes; espeak-ng cuts the path of a data file at 160
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_INSTALL = "Run pip install 'raywce[demo]'."
_REINSTALL = "Run pip install --force-reinstall espeakng-loader."


class Espeak:
    """The synthesiser of this process.

    espeak-ng keeps state from one utterance to the next (random generators, phases), so the same text gives other
    samples later in a process. The same calls from the start of a process give the same samples: noise is seeded.

    Raises:
        InputError: the wheel is not installed, or the library or its voices can't be loaded.
    """

    def __init__(self) -> None:
        library, data = _find()
        self._variants = frozenset(file.name for file in (data / "voices" / "!v").iterdir())
        self._chunks: list[bytes] = []
        self._callback = _CALLBACK(self._keep)  # ctypes keeps no reference of its own
        self._library = _load(library)
        folder = os.fsencode(_shortened(data))
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, folder, _DONT_EXIT)
        if self.sample_rate <= 0:
            fail("espeak-ng", "must be able to load its voices", f"an error for {data}", _REINSTALL)
        self._library.espeak_SetSynthCallback(self._callback)
        self._check(self._library.espeak_ng_SetRandSeed(1), "seed its noise")  # its own seed is the time of day

    def speak(self, text: str, voice: str, pitch: int, speed: int) -> npt.NDArray[np.int16]:
        """Speak a text.

        Args:
            text: what to say.
            voice: the name of a language's voice and of a variant of it (`es+f2`).
            pitch: 0 to 99, 50 is the variant's own.
            speed: words a minute, 80 to 450.

        Returns:
            samples: int16, shape (T,), at `sample_rate`, with the pauses that espeak-ng puts around them.

        Raises:
            InputError: there is no such voice or variant.
        """
        self._choose(voice)
        self._check(self._library.espeak_SetParameter(_PITCH, pitch, 0), f"set the pitch to {pitch}")
        self._check(self._library.espeak_SetParameter(_RATE, speed, 0), f"set the speed to {speed}")
        self._chunks.clear()
        data = text.encode()
        status = self._library.espeak_Synth(data, len(data) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        self._check(status, f"speak {text!r}")
        return np.frombuffer(b"".join(self._chunks), np.int16)

    def _choose(self, voice: str) -> None:
        _, plus, variant = voice.partition("+")
        if plus and variant not in self._variants:  # espeak-ng itself would take the plain voice in silence
            fail("espeak-ng", "a variant must be a file of its voices/!v", variant)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            fail("espeak-ng", "a voice must be one of its own", voice)

    def _keep(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count:
            self._chunks.append(ctypes.string_at(samples, count * ctypes.sizeof(ctypes.c_short)))
        return 0  # go on

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status != 0:
            raise RuntimeError(f"espeak-ng could not {what}: status {status}")


def _find() -> tuple[Path, Path]:
    """The shared library and its data folder."""
    try:
        import espeakng_loader
    except ImportError:
        fail("espeak-ng", "must be installed to speak the demo corpus", "no espeakng_loader", _INSTALL)
    package = Path(espeakng_loader.__file__).parent
    library, data = Path(espeakng_loader.get_library_path()), package / "espeak-ng-data"
    if not (data / "voices" / "!v").is_dir():
        fail("espeak-ng", "must have its voices", f"none in {data}", _REINSTALL)
    return library, data


def _load(file: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        fail("espeak-ng", "its library must be loadable", error, _REINSTALL)
    integer, text, pointer = ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    size, unsigned = ctypes.c_size_t, ctypes.c_uint
    library.espeak_Initialize.argtypes = [integer, integer, text, integer]
    library.espeak_SetSynthCallback.argtypes = [_CALLBACK]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_SetVoiceByName.argtypes = [text]
    library.espeak_SetParameter.argtypes = [integer, integer, integer]
    library.espeak_Synth.argtypes = [text, size, unsigned, integer, unsigned, unsigned, pointer, pointer]
    return library


def _shortened(data: Path) -> Path:
    """The data folder by a path that espeak-ng doesn't cut: a temporary link to it where its own is too long."""
    if len(os.fsencode(data)) <= _LONGEST_PATH:
        return data
    folder = mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # voices are read from it as they are needed
    link = Path(folder, "data")
    link.symlink_to(data, target_is_directory=True)
    return link
