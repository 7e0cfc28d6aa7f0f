"""From the name a user types to a folder with a model in it. Loads no torch.

A name is ``pocket`` (the embedded model), a folder, or a Hugging Face hub id. ``HF_HUB_OFFLINE``, ``HF_ENDPOINT``,
``HF_TOKEN`` and ``HF_HOME`` mean what they mean for every program that uses the hub.
"""

from __future__ import annotations

import re
from pathlib import Path

from .errors import ModelNotFound

POCKET = "pocket"

# What an engine and a tokenizer read. Some repositories hold the same weights twice, in their makers' own layout.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model"]
_UNWANTED = ["original/*", "consolidated*", "onnx/*"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_model(name: str) -> Path:
    """The folder of the model called ``name``, downloading it first where it is a hub id not yet on this machine.

    Raises :class:`ModelNotFound`, whose message says which names would have been right.
    """
    if name == POCKET:
        return _checked(Path(__file__).resolve().parent / POCKET, "The embedded model is not in this installation")
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return _checked(folder.resolve(), f"{name!r} is not a model folder")
    if not _HUB_ID.fullmatch(name):
        raise ModelNotFound(
            f"There is no folder {name!r}. Give 'pocket' (the embedded model), a model's folder, or a hub id such as "
            "'Qwen/Qwen3-0.6B'."
        )
    return _checked(_download(name), f"The repository {name!r} holds no model")


def _checked(folder: Path, complaint: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"{complaint}: there is no config.json in {folder}.")
    return folder


def _download(name: str) -> Path:
    # Importing the hub client takes a tenth of a second, and most starts do not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # the HTTP library's, which is not always the same one
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except GatedRepoError as error:
        raise ModelNotFound(
            f"The model {name!r} is gated: accept its licence on the hub and set HF_TOKEN to a token that may read it."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(
            f"No folder and no hub repository is called {name!r}. A private repository needs HF_TOKEN."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(
            f"The model {name!r} is not on this machine and the hub could not be reached (offline, or HF_HUB_OFFLINE "
            "is set). Copy the model's folder here and give its path, or use 'pocket', which needs no download."
        ) from error
    except (OSError, HTTPError) as error:  # a full disk, an answer of the hub's, a connection that breaks
        raise ModelNotFound(f"The download of {name!r} failed: {error}") from error
