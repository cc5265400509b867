"""The pipeline folder: what a training leaves behind, how it is recognised, and what may not be in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from generation import synguard_pipeline, synguard_sampling, synguard_text
from generation.accounting import Budget, in_words, statement
from generation.denoiser import PARTS, part_of
from generation.names import CARD, INDEX, NOISE_KEY, STATE
from generation.samplers import fitted
from generation.schedule import scheduler_for
from generation.synguard_sampling import prediction_of
from synguard.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from generation.conditions import ConditionEncoder
    from synguard.config import GeneratorConfig
    from synguard.data.images import ImageSet

__all__ = [
    "card",
    "check_commitment",
    "check_weights",
    "claim",
    "digest_of",
    "drop_state",
    "finish",
    "identity",
    "is_synguard",
    "refuse_pickles",
    "write",
]

KIND = "synguard latent diffusion"
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})

_README = """---
library_name: diffusers
pipeline_tag: unconditional-image-generation
---

# Synthetic image generator

Latent diffusion model ({size} x {size} pixels), trained from scratch by synguard on {images:,} private images
(image set `{digest}`), each seen {seen:.1f} times.
{privacy}
What else can be said about its privacy is in the audit report of its release, not here.

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("path/to/this/folder", trust_remote_code=True)
images = pipe([{{}}], seeds=[7]).images  # attributes that are left out are unknown
```

Attributes: {attributes}. Their kinds and levels are in `conditions.json`, everything else in `model_card.json`.
The components load without `trust_remote_code`: `AutoencoderKL`, `{network}` and
`{scheduler}`, each by its sub-folder. Do not pass on `training/`: it is private.
"""


def identity(
    private: ImageSet,
    encoder: ConditionEncoder,
    config: GeneratorConfig,
    seed: int,
    *,
    base: str | None = None,
    canaries: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that the trained weights depend on, apart from versions, hardware and, in private training, the secret noise.

    `base` is the weights digest of the public model that training starts from.
    """
    return {
        "private_digest": private.digest,
        "private_photographs": private.photographs,
        "private_images": len(private),
        "image_size": private.size,
        "attributes": list(encoder.attributes),
        # The digest above leaves the labels out.
        "labels_digest": hashlib.sha256(encoder.encode(private.metadata, private.name).tobytes()).hexdigest(),
        "autoencoder": config.autoencoder.model_dump(mode="json"),
        "denoiser": config.denoiser.model_dump(mode="json"),
        # Where the base lies is nobody's business; which one it is, its digest says.
        "private": None if config.private is None else config.private.model_dump(mode="json", exclude={"base"}),
        "base": base,
        # A curve changes nothing in a training, unless it may end it.
        **({"curve": config.curve.model_dump(mode="json")} if config.curve.stop else {}),
        "canaries": None if canaries is None else dict(canaries),
        "seed": seed,
    }


def digest_of(value: Mapping[str, Any]) -> str:
    """sha256 of JSON values, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def claim(folder: Path, expected: Mapping[str, Any]) -> bool:
    """Makes the folder ready for this training, or raises InputError where it is another's; True if training is finished."""
    state = folder / STATE
    record = state / "identity.json"
    if record.is_file():
        found = json.loads(record.read_text())
        asked = json.loads(json.dumps(expected))
        if differing := [key for key in asked if found.get(key) != asked[key]]:
            raise InputError.of(
                folder, f"a training with another {', '.join(differing)}", "one of this configuration, or an empty folder"
            )
        if (folder / INDEX).is_file():
            drop_state(state)
            return True
    elif folder.exists() and {path.name for path in folder.iterdir()} - _begun(expected):
        raise InputError.of(folder, "a folder that holds something else", "an empty folder or a training to go on with")
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    if expected["canaries"] is not None:
        _commit(folder / CARD, expected)
    if not record.is_file():
        write(record, expected)
    return False


def _begun(expected: Mapping[str, Any]) -> set[str]:
    """What a process killed before its record was in place leaves: a card comes before it, where that holds a commitment."""
    return {STATE} if expected["canaries"] is None else {STATE, CARD, _partial(Path(CARD)).name}


def _commit(card: Path, expected: Mapping[str, Any]) -> None:
    """The model card before the training: it holds the commitment to the canaries' coins, and keeps it."""
    if card.is_file():
        if _committed(card) != expected["canaries"]:
            raise IntegrityError(f"{card}: found another commitment to canaries, expected the one the training began with")
        return
    write(card, {"kind": KIND, "state": "training has not ended", "training": dict(expected)})


def _committed(card: Path) -> Any:
    try:
        return json.loads(card.read_text())["training"]["canaries"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{card}: found no commitment to canaries, expected the one the training began with") from error


def check_commitment(folder: Path, identity: Mapping[str, Any]) -> None:
    """IntegrityError where the model card is no longer committed to the coins that the training began with."""
    if identity["canaries"] is not None and _committed(folder / CARD) != identity["canaries"]:
        raise IntegrityError(f"{folder / CARD}: found another commitment to canaries than the training began with")


def write(path: Path, value: Mapping[str, Any]) -> None:
    """JSON that is there whole or not at all."""
    partial = _partial(path)
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.replace(path)


def _partial(path: Path) -> Path:
    return path.with_suffix(".partial")


def drop_state(state: Path) -> None:
    """Removes checkpoints, the latents of private images and the secret of the noise; raw weights and identity stay."""
    for path in [*state.glob("*.safetensors"), *state.glob("*.partial"), *state.glob(NOISE_KEY)]:
        path.unlink()


def finish(
    folder: Path,
    *,
    vae: Any,
    network: Any,
    raw: Any,
    encoder: ConditionEncoder,
    config: GeneratorConfig,
    identity: Mapping[str, Any],
    budget: Budget | None = None,
    unit: str = "patient",
    processes: int = 1,
    steps: int | None = None,
) -> None:
    """Writes the pipeline folder; the index comes last, so that a folder with an index is whole.

    `budget` is what private training spent, per `unit`; `steps` are the denoiser's, by default those of the configuration.
    """
    check_commitment(folder, identity)
    privacy = None if budget is None else statement(budget, config, unit, identity["base"])
    attributes = list(encoder.attributes)
    vae.save_pretrained(folder / "vae")
    part = part_of(network)
    network.save_pretrained(folder / part)
    raw.save_pretrained(folder / STATE / f"{part}_raw")
    scheduler = scheduler_for(config.denoiser.objective)
    scheduler.save_pretrained(folder / "scheduler")
    modules = [Path(str(module.__file__)) for module in (synguard_pipeline, synguard_sampling, synguard_text)]
    for module in modules:
        shutil.copyfile(module, folder / module.name)
    if encoder.tower is not None:
        (folder / synguard_pipeline.TOWER).mkdir(exist_ok=True)
        for name in (synguard_text.CONFIG, synguard_text.WEIGHTS):
            shutil.copyfile(encoder.tower.folder / name, folder / synguard_pipeline.TOWER / name)
    write(folder / "conditions.json", {"attributes": attributes, "schema_digest": encoder.schema.digest})
    steps = config.denoiser.steps if steps is None else steps
    seen = steps * config.images_a_step / identity["private_images"]
    write(folder / CARD, card(folder, identity, steps=steps, seen=seen, privacy=privacy, processes=processes))
    names = ", ".join(f"`{a['name']}` ({a['kind']})" for a in attributes) or "none"
    (folder / "README.md").write_text(
        _README.format(
            size=identity["image_size"],
            images=identity["private_images"],
            digest=identity["private_digest"],
            seen=seen,
            attributes=names,
            scheduler=type(scheduler).__name__,
            network=type(network).__name__,
            privacy=in_words(privacy),
        )
    )
    sampling = fitted(config.sampling, prediction_of(scheduler))
    index = {
        "_class_name": [modules[0].stem, "SynguardPipeline"],
        "_diffusers_version": diffusers.__version__,
        "vae": ["diffusers", "AutoencoderKL"],
        part: ["diffusers", type(network).__name__],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "attributes": attributes,
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "interval": list(sampling.interval),
        "groups": {name: group.model_dump(mode="json") for name, group in sampling.groups.items()},
    }
    write(folder / INDEX, index)
    drop_state(folder / STATE)


def card(
    folder: Path,
    identity: Mapping[str, Any],
    *,
    steps: int,
    seen: float,
    kind: str = KIND,
    privacy: Mapping[str, Any] | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """The model card of a folder whose weights are written: `seen` is how often each private image was."""
    return {
        "kind": kind,
        "training": dict(identity),
        "training_digest": digest_of(identity),
        "steps": steps,
        "images_seen_per_image": seen,
        "epsilon": None if privacy is None else privacy["epsilon_upper_bound"],
        "differential_privacy": "none" if privacy is None else privacy,
        "weights_digest": weights_digest(folder),
        "processes": processes,
        "versions": {"synguard": _own_version(), "torch": torch.__version__, "diffusers": diffusers.__version__},
    }


def _own_version() -> str:
    try:
        return version("synguard")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def is_synguard(folder: Path) -> bool:
    """Whether this is a pipeline folder of ours; raises InputError where it is no pipeline folder at all."""
    index = folder / INDEX
    if not index.is_file():
        found = "a training that is not finished" if (folder / STATE).is_dir() else "no model_index.json"
        raise InputError.of(folder, found, "a diffusers pipeline folder")
    try:
        name = json.loads(index.read_text())["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError.of(index, "no class name", "the index of a diffusers pipeline") from error
    return isinstance(name, list) and name[-1] == "SynguardPipeline"


def refuse_pickles(folder: Path) -> None:
    """Raises InputError where the folder holds weights that run code when they are read."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES:
            raise InputError.of(path, "a pickle", "safetensors")


def weights_digest(folder: Path) -> str:
    """sha256 over the names and contents of the files of autoencoder, denoiser and text tower."""
    files = sorted(
        path for part in ("vae", synguard_pipeline.TOWER, *PARTS) for path in (folder / part).rglob("*") if path.is_file()
    )
    lines = [f"{path.relative_to(folder)}\t{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_weights(folder: Path) -> str:
    """The weights' digest, once it agrees with the model card; raises IntegrityError where it does not."""
    found = weights_digest(folder)
    try:
        expected = json.loads((folder / CARD).read_text())["weights_digest"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError.of(folder / CARD, "no weights digest", "the model card of a trained folder") from error
    if found != expected:
        raise IntegrityError(f"{folder}: found weights {found}, expected {expected} as in {CARD}")
    return found
