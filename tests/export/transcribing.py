"""Transcribing with the very code that a model card gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

Transcribe = Callable[[str, str], str]  # a file and its language token to a text


def by_card(folder: Path, library: str, max_new_tokens: int | None = None, base: Path | None = None) -> Transcribe:
    """The card's code for that library; its model is opened once.

    Args:
        folder: the exported one.
        library: that the code imports.
        max_new_tokens: where all texts are cut, other than the card has it.
        base: an adapter's model, in place of the one on the Hub that the card names.
    """
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if f"from {library} import" in block]
    block = block.replace("openai/whisper-tiny", str(base)) if base else block
    lines = block.replace("FOLDER", str(folder)).splitlines()
    opens = re.compile(r"transcribe = |model = (Whisper)?Model\(")
    opened = next(number for number, line in enumerate(lines) if opens.match(line)) + 1
    names: dict[str, object] = {}
    exec("\n".join(lines[:opened]), names)

    def transcribe(file: str, language: str) -> str:
        code = "\n".join(lines[opened:]).replace("speech.flac", file)
        code = re.sub(r'("language": |language=)"[a-z<|>]+"', rf'\1"{language}"', code)
        assert f'"{language}"' in code
        if max_new_tokens:
            code = re.sub(r'(how = .*?), "max_new_tokens": \d+', r"\1", code)
            code = code.replace("how = {", f'how = {{"max_new_tokens": {max_new_tokens}, ')
        with redirect_stdout(StringIO()) as out:
            exec(code, names)
        return out.getvalue().strip()

    return transcribe
