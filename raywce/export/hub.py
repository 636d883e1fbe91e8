"""The exported folder on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from raywce.errors import Problems, RunFailed


def check_pushable(repo_id: str) -> None:
    """Check the name of the repository and the token, before anything is written.

    Raises:
        InputError: with everything that is missing.
    """
    problems = Problems()
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        problems.add("--push", "must be a repository of the Hub, as organisation/name", repo_id, f"{error}")
    if get_token() is None:
        do = "Run hf auth login, or set HF_TOKEN"
        problems.add("--push", "a Hub token with write access must be available", "none", do)
    problems.raise_any()


def push(folder: Path, repo_id: str, private: bool) -> str:
    """Upload `folder`, to a repository that is created if needed, and return its address.

    Raises:
        RunFailed: the Hub refuses it; the folder is kept.
    """
    api = HfApi()
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Model exported by raywce")
    except (HTTPError, OSError) as error:
        again = f"{folder} is complete: run hf upload {repo_id} {folder} to try again"
        raise RunFailed(f"the Hub refused the upload: {error}. {again}") from error
    return str(address)
