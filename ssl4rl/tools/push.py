"""A run's final model to a model hub (`ssl4rl push`): weights, processor and card, as they lie in final/."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.record.files import SUMS, damage
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.asked import Place, need

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Pushed:
    """What was uploaded, or with `dry_run` would be: files by name with their bytes. `url`: where it is now."""

    repo: str
    folder: Path
    files: dict[str, int]
    url: str | None

    def to_json(self) -> dict[str, Any]:
        return {"repo": self.repo, "folder": str(self.folder), "files": self.files, "url": self.url}

    def __str__(self) -> str:
        what = f"{len(self.files)} files, {sum(self.files.values()) / 1e6:.1f} MB"
        if self.url:
            return f"{self.url}  ({what})"
        return "\n".join([f"would upload {what} to {self.repo}:", *(f"  {name}" for name in self.files)])


def push(run: Place, repo: str, *, private: bool = False, dry_run: bool = False) -> Pushed:
    """Uploads RUN/final to a model repository, which is made if it is not there.

    Args:
        run: the run's folder.
        repo: "owner/name" on the hub (or on the one that HF_ENDPOINT names).
        private: of a repository that is made.
        dry_run: nothing is sent.

    Raises:
        Ssl4rlError: no finished run, a damaged one, no such name, or whatever the hub says, in one line.
    """
    folder = Path(run) / "final"
    if not folder.is_dir():
        raise Ssl4rlError(f"{os.fspath(run)!r} has no final/; a finished run has")
    if wrong := damage(folder):
        raise Ssl4rlError(f"{folder}: {wrong}")
    if not _REPO.fullmatch(repo):
        raise Ssl4rlError(f"repository {repo!r}; allowed: owner/name")
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SUMS
    }
    if dry_run:
        return Pushed(repo, folder, files, None)
    need("train", "huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    http_error: type[BaseException] = HfHubHTTPError.__bases__[
        0
    ]  # of the HTTP library, whose errors the hub's client lets through

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        message = f"{Path(run).resolve().name}, trained with ssl4rl"
        api.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=[SUMS], commit_message=message)
    except (http_error, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError, ValueError, RuntimeError) as error:
        raise Ssl4rlError(f"cannot push to {repo}: {' '.join(str(error).split())[:300]}") from error
    return Pushed(repo, folder, files, str(made))
