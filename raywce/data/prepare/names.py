"""Languages and splits recognised in columns, folder names and file names."""

from __future__ import annotations

import re
from functools import lru_cache

_SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["dev", "devel", "development", "valid", "val", "validation"], "dev"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]{2,10})*")
# Three-letter folder names that are languages of Common Voice, FLEURS or Whisper, not "wav", "tmp" or "raw".
_THREE_LETTERS = """
ady arn ast bas bew btv bxr ceb ckb cmn cnh dar dav dsb dyu fil gom guc guj guz haw hbo hch hsb jbo jqr kab kam
kbd kea kln kmr koo lad lij lke ltg lth luo lus lzz mai maj mau mbf mdf mfe mhr mmc mni mos mrj myv nan ndi nhe
nhi nia nmz nso nsy oji pez pne qup qur qus qux quy rap rwm sah sat sba sco sei shi skr syr szy tig tob tok top
trv tsz tui tyv tyz udm umb vec vmw vot xho xkl yaq yav yrl yua yue zgh zoc zul zza
"""


def split_of(name: str | None) -> str | None:
    """`train`, `dev` or `test` where `name` holds exactly one of them as a word (`gl_valid.tsv`)."""
    words = re.split(r"[^a-z]+", (name or "").lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def language_of(value: str | None) -> str | None:
    """The language code in a column's or an option's value: `gl`, `pt_br`, `sv-SE`, `Galician`; region dropped."""
    value = (value or "").strip()
    code = _CODE.fullmatch(value if value[3:] else value.lower())
    return code[1] if code else _codes_by_name().get(value.lower())


def language_of_folder(name: str) -> str | None:
    """The language code that a folder's name is; stricter than `language_of`, for any folder is looked at."""
    code = _CODE.fullmatch(name)
    if code and (len(code[1]) == 2 or code[1] in _THREE_LETTERS.split()):
        return code[1]
    return _codes_by_name().get(name.lower())


@lru_cache(maxsize=1)
def _codes_by_name() -> dict[str, str]:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    return {name: code for name, code in TO_LANGUAGE_CODE.items() if len(name) > 3}
