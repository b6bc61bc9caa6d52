"""Hub ids: the local hub cache first (no library, no network), then the network through
huggingface_hub.

Layout of the cache: ``models--ORG--NAME/refs/main`` names a commit, ``snapshots/COMMIT/`` holds its
files (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from planner.blame import raised_by_planner
from planner.errors import FieldName

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
TIMEOUT_SECONDS = 5.0
_TRUE = {"1", "on", "yes", "true"}


def is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and ".." not in name and "--" not in name


def cache_root() -> Path:
    """HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub: as huggingface_hub looks
    for it."""
    env = os.environ
    own = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    home = env.get("HF_HOME") or os.path.join(
        env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def cached_snapshot(hub_id: str, file: str = "config.json") -> Path | None:
    """The folder of the snapshot that refs/main names (the newest one without a ref) that holds the
    file, or None."""
    model = cache_root() / f"models--{hub_id.replace('/', '--')}"
    try:
        commit = (model / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    if re.fullmatch(r"[0-9a-zA-Z]{1,64}", commit):
        folder = model / "snapshots" / commit
        return folder if (folder / file).is_file() else None
    folders = [folder for folder in model.glob("snapshots/*") if (folder / file).is_file()]
    return max(folders, key=lambda folder: folder.stat().st_mtime) if folders else None


def network_refusal(offline: bool) -> str | None:
    """Why the network must not be asked, None when it may be."""
    if offline:
        return f"the network was not asked ({FieldName('offline')})"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").lower() in _TRUE:
            return f"the network was not asked ({name} is set)"
    return None


def download_config(hub_id: str) -> tuple[Path | None, str | None]:
    """(folder with the downloaded config.json, None), or (None, why not): gated, not found,
    unreachable, no library."""
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", str(int(TIMEOUT_SECONDS)))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import errors as hub_errors
        from huggingface_hub import hf_hub_download
    except ImportError:
        return None, "the network needs huggingface_hub (pip install 'planner[hf]')"
    try:
        _ask_once()
        file = hf_hub_download(hub_id, "config.json", etag_timeout=TIMEOUT_SECONDS)
    except hub_errors.GatedRepoError:
        return (
            None,
            "the hub says that it is gated: accept its licence there and log in (hf auth login)",
        )
    except hub_errors.RepositoryNotFoundError:
        return None, "the hub has no such public model"
    except hub_errors.EntryNotFoundError as error:
        if isinstance(error, getattr(hub_errors, "LocalEntryNotFoundError", ())):
            return None, "the hub could not be reached"
        return None, "the hub has that model, but it has no config.json"
    # any transport's own error: the user is told, and the catalogue is asked next
    except Exception as error:
        if raised_by_planner(error):
            raise
        return None, f"the hub could not be reached ({type(error).__name__})"
    return Path(file).parent, None


def download_pipeline(hub_id: str) -> Path | None:
    """The folder with the downloaded configs of a pipeline's parts, None where it is none or could
    not be had: what the config.json was refused for is said then."""
    try:
        from huggingface_hub import snapshot_download

        wanted = ["model_index.json", "*/config.json", "scheduler/*.json"]
        folder = Path(
            snapshot_download(hub_id, allow_patterns=wanted, etag_timeout=TIMEOUT_SECONDS)
        )
    # any transport's own error, after the config.json was asked for and refused
    except Exception as error:
        if raised_by_planner(error):
            raise
        return None
    return folder if (folder / "model_index.json").is_file() else None


def _ask_once() -> None:
    """One short request before the download, which would retry an unreachable hub for 20 seconds.
    Raises the transport's error."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
