"""The exported folder on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from raywce.errors import Problems, RunFailed


def check_pushable(repo_id: str) -> None:
    """See that there is a name and a token to push with, before anything is written.

    Raises:
        InputError: with what is lacking.
    """
    problems = Problems()
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        problems.add("--push", "must be a repository of the Hub, as organisation/name", repo_id, f"{error}")
    if get_token() is None:
        do = "Run hf auth login, or set HF_TOKEN"
        problems.add("--push", "a token of the Hub that may write must be known here", "none", do)
    problems.raise_any()


def push(folder: Path, repo_id: str, private: bool) -> str:
    """Upload `folder`, into a repository that is made where there is none, and return its address.

    Raises:
        RunFailed: the Hub refuses; the folder stays.
    """
    api = HfApi()
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Model exported by raywce")
    except (HfHubHTTPError, OSError) as error:
        again = f"{folder} is complete; hf upload {repo_id} {folder} tries again"
        raise RunFailed(f"the Hub did not take it: {error}. {again}") from error
    return str(address)
