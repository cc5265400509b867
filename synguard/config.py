"""What a user may configure: one small, frozen model a component, together the `synguard.yaml` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AskedConfig",
    "AttributeConfig",
    "AuditConfig",
    "AutoencoderConfig",
    "CurveConfig",
    "DataSource",
    "DenoiserConfig",
    "ExpertConfig",
    "FidelityConfig",
    "GeneratorConfig",
    "GroupGuidance",
    "LabelsConfig",
    "MembershipConfig",
    "MemorisationConfig",
    "PriorConfig",
    "PrivateConfig",
    "ProbeName",
    "ReleaseConfig",
    "RunConfig",
    "SamplingConfig",
    "TuningConfig",
]

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Guidance = Annotated[float, Field(ge=1)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError(
            f"found {interval[0]} to {interval[1]}, expected the earlier end first: 0 is the image, 1 pure noise"
        )
    return interval


Interval = Annotated[tuple[Share, Share], AfterValidator(_in_order)]
Sampler = Literal["ab2", "euler", "euler-ancestral", "heun", "ddim", "ddpm", "pndm", "dpm-solver++", "unipc"]
Strategy = Literal["text-to-image", "image-to-image", "inpainting", "in-then-outpainting"]
ProbeName = Literal["loss", "condition-gap", "sima", "pia", "pian", "secmi", "gradients", "autoencoder"]
"""White-box probes on one set of weights; that against a reference model is asked for by `reference`."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSource(_Config):
    """A set of images. `path` is an image folder, a CSV, Parquet or JSONL table of paths, or a MedMNIST `.npz`.

    A MedMNIST file takes the splits after a hash: `retinamnist.npz#train,val`.
    """

    path: str
    patient: str | None = None
    """Metadata column with the patient id; without it each image counts as a patient of its own."""
    box: str | None = None
    """Metadata column with a box around what is marked in the image (a lesion), `x y width height` in pixels of the file."""


class AttributeConfig(_Config):
    """One attribute of the condition schema."""

    name: str
    kind: Literal["binary", "ordinal", "categorical", "continuous", "text"]
    levels: tuple[str, ...] | None = None
    """Ordinal (in order) and categorical: the levels. Binary: optional (negative, positive), else 0 and 1."""
    range: tuple[float, float] | None = None
    """Continuous: smallest and largest value allowed."""
    sentence: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Text: it says the other attributes in words, after these. Labels are then read off it, and it is made of labels."""
    group: str | None = None


class AutoencoderConfig(_Config):
    """The autoencoder of the latent diffusion model."""

    widths: tuple[Positive, ...] = (16, 32, 48)
    latent_channels: Positive = 4
    steps: Positive = 600
    batch_size: Positive = 32
    crop: Positive | None = 32
    """Side of the training crops in pixels; None trains on whole images."""
    learning_rate: float = 2e-3


class DenoiserConfig(_Config):
    """The conditional denoiser of the latent diffusion model."""

    kind: Literal["unet", "transformer"] = "unet"
    """A UNet learns faster from few images; a transformer wants a hundred thousand."""
    widths: tuple[Positive, ...] = (64, 96)
    """Channels of a UNet's levels; of a transformer one number, a multiple of 32."""
    layers: Positive = 1
    """Layers of each level of a UNet; blocks of a transformer."""
    patch: Positive = 2
    """Side of a transformer's patches in latents: twice the side costs a quarter."""
    attention: bool = False
    """Self-attention at the coarsest level: what private training can fine-tune alone."""
    steps: Positive = 2000
    batch_size: Positive = 64
    """Images a step; in private training, patients that are expected in a step."""
    learning_rate: float = 1.5e-3
    ema_decay: Share = 0.999
    objective: Literal["flow", "epsilon", "v"] = "flow"
    """What it predicts: the velocity of a flow, or noise or v on Stable Diffusion's schedule, with min-SNR weights."""
    condition_dropout: Share = 0.1
    """Share of training images shown without any condition, and share shown with some of them left out."""
    augment: Literal["none", "mirror", "dihedral"] = "none"
    """Which turns keep an image's labels true: none, left-right mirroring, or all eight mirrorings and quarter turns."""


class GroupGuidance(_Config):
    """Guidance of one group of attributes."""

    guidance: Guidance
    interval: Interval = (0.0, 1.0)


class SamplingConfig(_Config):
    """How candidates are sampled."""

    sampler: Sampler | None = None
    """By default two-step Adams-Bashforth for a flow ("ab2"), DPM-Solver++ for other objectives, and its own for a model by
    others. All but Heun take one evaluation of the denoiser a step."""
    steps: Positive = 20
    guidance: Guidance = 2.0
    """How much louder conditions speak than in training. Above 1 an evaluation costs two."""
    interval: Interval = (0.0, 1.0)
    """Times at which guidance acts, 1 being pure noise; outside them an evaluation costs one."""
    groups: Mapping[str, GroupGuidance] = Field(default_factory=dict)
    """Guidance of groups of attributes apart (`conditions[].group`); each that differs costs one evaluation more."""
    precision: Literal["float32", "bfloat16"] | None = None
    """What the denoiser and the decoder compute in: by default bfloat16 on a GPU, and float32 on a CPU, where few have fast
    bfloat16. Another one gives other images."""
    batch_size: Positive = 250
    """Candidates asked for at once; changes no image."""


class CurveConfig(_Config):
    """Auditing checkpoints while the generator is trained, against the holdout: where does memorisation begin?

    The training itself stays as it is, bit for bit, unless it is to `stop`. Only the reference role of the holdout is looked
    at, never the evaluation role that the verdicts of the later audit come from.
    """

    enabled: bool = False
    stop: bool = False
    """End the training where memorisation begins, with the model of the last checkpoint before: where one figure is beyond
    chance at two checkpoints in a row."""
    every: Positive | None = None
    """Steps between checkpoints; by default a twentieth of the training, but at least 100."""
    real: Annotated[int, Field(ge=20)] = 500
    """Private images, and as many of the holdout, on which the loss is measured."""
    images: Annotated[int, Field(ge=20)] = 200
    """Images that each checkpoint generates."""

    @model_validator(mode="after")
    def _looks_before_it_stops(self) -> CurveConfig:
        if self.stop and not self.enabled:
            raise ValueError("generator.curve.stop: found it without enabled, expected a curve to stop by")
        return self


class PrivateConfig(_Config):
    """Training of the denoiser with differential privacy (DP-SGD); what is protected is a patient with all images.

    Give `epsilon`, and the noise is found that keeps to it, or `noise`, and the accountant says what was spent.
    """

    epsilon: Annotated[float, Field(gt=0)] | None = None
    noise: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise in units of `clip`."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """By default a tenth of one in the number of patients."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Longest gradient that one patient may have."""
    multiplicity: Positive = 8
    """Images, noises and times that a patient's gradient is the mean of, in one step."""
    layers: Literal["all", "attention"] = "all"
    base: str | None = None
    """Pipeline folder trained by synguard on public images: training starts from it, and keeps its autoencoder."""

    @model_validator(mode="after")
    def _one_budget(self) -> PrivateConfig:
        if (self.epsilon is None) == (self.noise is None):
            found = "neither epsilon nor noise" if self.noise is None else "epsilon and noise"
            raise ValueError(f"generator.private: found {found}, expected one of the two")
        if self.layers == "attention" and self.base is None:
            raise ValueError("generator.private.base: found nothing, expected a folder, since layers is 'attention'")
        return self


class PriorConfig(_Config):
    """Prior preservation (DreamBooth): images of a class, drawn by the base beforehand, are learned beside the private."""

    prompt: Annotated[str, Field(min_length=1)]
    """What the base is asked for: the class without the token, such as "a photo of a skin lesion"."""
    images: Positive = 100
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of their loss beside that of the private images."""


class TuningConfig(_Config):
    """Few-shot tuning of a text-to-image model: LoRA on its denoiser's attention, by a prompt with a rare token."""

    base: str
    """Local folder in the layout of Stable Diffusion: unet, vae, text_encoder, tokenizer, scheduler."""
    rank: Positive = 8
    steps: Positive = 1000
    batch_size: Positive = 2
    """Private images a step; prior preservation adds as many of its own."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    token: Annotated[str, Field(pattern=r"^[^\s{}]+$")] = "sks"  # noqa: S105  # a word, not a secret
    """A word that means nothing to the base; in prompts it comes to mean the private set."""
    prior: PriorConfig | None = None
    snr_gamma: Annotated[float, Field(gt=0)] | None = None
    """Min-SNR weights of the loss, 5 in the paper (arXiv:2303.09556); None weighs all times alike."""


class GeneratorConfig(_Config):
    """Where candidates come from: our latent diffusion model, a text-to-image model tuned on the private set, a diffusers
    pipeline folder, or a folder of images."""

    kind: Literal["latent-diffusion", "text-to-image", "pipeline", "folder"] = "latent-diffusion"
    path: str | None = None
    """The pipeline folder or the image folder; for the kinds that are trained a trained folder, so that none is."""
    trust_remote_code: bool = False
    text_encoder: str | None = None
    """Folder of an OpenCLIP model (`open_clip_config.json`, `open_clip_model.safetensors`), whose text tower reads text
    attributes. Without it they are bags of words."""
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    sampling: SamplingConfig = SamplingConfig()
    curve: CurveConfig = CurveConfig()
    private: PrivateConfig | None = None
    """Training with differential privacy; without it there is none."""
    canaries: Annotated[int, Field(ge=2)] | None = None
    """Patients whose place in the private set a coin decides before training, to measure what the model gives away."""
    tuning: TuningConfig | None = None
    """How a text-to-image model is tuned."""
    prompts: str | None = None
    """Prompt template file of a text-to-image model; without it the folder's own, or a plain one."""
    strategy: Strategy = "text-to-image"
    """What an image starts from: noise, or a private image, redrawn as a whole, in a mask, or inside and then outside."""
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    """For image-to-image: share of the steps by which a source is noised and redrawn, 0.5 unless given."""

    @property
    def images_a_step(self) -> int:
        """Images that the denoiser sees in a step, expected ones in private training."""
        return self.denoiser.batch_size * (1 if self.private is None else self.private.multiplicity)

    @property
    def trains(self) -> bool:
        """Whether a run trains its generator."""
        return self.path is None and self.kind in ("latent-diffusion", "text-to-image")

    @model_validator(mode="after")
    def _path_where_needed(self) -> GeneratorConfig:
        if self.kind in ("pipeline", "folder") and not self.path:
            raise ValueError(f"generator.path: found nothing, expected a folder, since generator.kind is {self.kind!r}")
        if self.text_encoder is not None and self.private is not None and self.private.base is not None:
            raise ValueError("generator.text_encoder: found it beside private.base, expected none: the base has its own")
        if self.private is not None and self.curve.stop:
            raise ValueError("generator.curve.stop: found private training, expected none: when it stops tells of patients")
        for key in ("private", "canaries", "text_encoder"):
            if getattr(self, key) is not None and not self.trains:
                raise ValueError(f"generator.{key}: found it beside a generator that is not trained, expected none")
        return self

    @model_validator(mode="after")
    def _text_to_image_alone(self) -> GeneratorConfig:
        if self.kind == "text-to-image":
            return self._of_text_to_image()
        for key in ("tuning", "prompts", "strategy", "strength"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"generator.{key}: found it for kind {self.kind!r}, expected it for 'text-to-image' alone")
        return self

    def _of_text_to_image(self) -> GeneratorConfig:
        if (self.tuning is None) == (self.path is None):
            found = "neither tuning nor path" if self.path is None else "tuning and path"
            raise ValueError(f"generator: found {found}, expected one of them: a model to tune, or one that is tuned")
        for key in ("private", "trust_remote_code", "text_encoder"):
            if getattr(self, key):
                raise ValueError(f"generator.{key}: found it for kind 'text-to-image', expected none")
        if self.curve.enabled:
            raise ValueError("generator.curve: found it for kind 'text-to-image', expected kind 'latent-diffusion'")
        if self.strategy != "image-to-image" and self.strength is not None:
            raise ValueError(f"generator.strength: found it for {self.strategy!r}, expected it for 'image-to-image' alone")
        if self.strategy == "image-to-image" and int(self.sampling.steps * self.redrawn) < 1:
            found = f"{self.redrawn:g} of {self.sampling.steps} steps"
            raise ValueError(f"generator.strength: found {found}, expected at least one whole step")
        return self

    @property
    def redrawn(self) -> float:
        """The strength of image-to-image."""
        return 0.5 if self.strength is None else self.strength


class ExpertConfig(_Config):
    """An encoder that the user brings for the copy search: a local file, known by its sha256. Nothing is downloaded."""

    kind: Literal["sscd", "timm", "open-clip"]
    """A TorchScript file of SSCD; weights of a network of timm (DINOv2 among them); weights of OpenCLIP."""
    path: str
    sha256: Annotated[str, Field(pattern="^(sha256:)?[0-9a-fA-F]{64}$")]
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")] | None = None
    """The architecture, by the name that timm or OpenCLIP gives it. No address of a hub."""

    @model_validator(mode="after")
    def _model_is_named(self) -> ExpertConfig:
        if (self.model is None) != (self.kind == "sscd"):
            found = "nothing" if self.model is None else repr(self.model)
            wanted = "no model, since the file holds it" if self.kind == "sscd" else "the name of an architecture"
            raise ValueError(f"model: found {found}, expected {wanted} for kind {self.kind!r}")
        return self


class MemorisationConfig(_Config):
    """The memorisation audit."""

    candidates: Positive = 10
    """Private images per candidate that are aligned after the coarse search."""
    planted_per_transform: Positive = 100
    batch_size: Positive = 500
    """Candidates examined at once; changes speed and memory only."""
    index_key: str | None = None
    """Key file (`synguard index key FILE`): the index of the private set is encrypted at rest."""
    experts: tuple[ExpertConfig, ...] = ()
    """Encoders that search beside synguard's own."""


class MembershipConfig(_Config):
    """The membership audit."""

    max_members: Positive = 4000
    probes: Annotated[tuple[ProbeName, ...], Field(min_length=1)] = ("loss", "sima", "pia")
    """White-box probes, all gated on together with their ensemble; `loss` is always one of them. `secmi` takes 12 passes an
    image, `condition-gap` 12 and `gradients` four forth and back: for a model that is to be released they are worth their
    time."""
    noise_levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
    """Between 0.05 and 0.6, at least half of them at 0.3 or less: in nearly pure noise no model knows an image again."""
    draws: Positive = 2
    """Noises at each level, the same for all images. Where training mirrored or turned images, draws take turns too."""
    query_level: Level = 0.3
    """Noise level of SimA, PIA and SecMI, between 0.05 and 0.5."""
    reference: str | None = None
    """A model that saw neither the private set nor the holdout, for the loss beyond its own: the base checkpoint that the
    model was tuned from, as a pipeline folder; or `train`: one is trained on the holdout's reference role."""
    turns: Literal["as-trained", "none", "mirror", "dihedral"] = "as-trained"
    """How training turned images, where the model's own card does not say it."""
    permutations: Annotated[int, Field(ge=199)] = 299
    """With fewer than 199 no p-value of a split could fall below 0.01 often enough to be called."""
    resamples: Annotated[int, Field(ge=200)] = 1000
    """With a handful the bounds shrink to a point, and whatever was measured would pass for certain."""

    @model_validator(mode="after")
    def _each_once(self) -> MembershipConfig:
        if len(set(self.probes)) < len(self.probes):
            raise ValueError(f"membership.probes: found {', '.join(self.probes)}, expected each name once")
        return self

    @model_validator(mode="after")
    def _asks_where_a_model_tells(self) -> MembershipConfig:
        """A configuration may add to what is asked of a model, and take nothing away."""
        if "loss" not in self.probes:
            raise ValueError(f"membership.probes: found {', '.join(self.probes)}, expected loss among them")
        levels = ", ".join(f"{level:g}" for level in self.noise_levels)
        if not all(0.05 <= level <= 0.6 for level in self.noise_levels):
            raise ValueError(f"membership.noise_levels: found {levels}, expected levels between 0.05 and 0.6")
        if 2 * sum(level <= 0.3 for level in self.noise_levels) < len(self.noise_levels):
            raise ValueError(f"membership.noise_levels: found {levels}, expected at least half of them at 0.3 or less")
        if not 0.05 <= self.query_level <= 0.5:
            raise ValueError(f"membership.query_level: found {self.query_level:g}, expected a level between 0.05 and 0.5")
        return self


class LabelsConfig(_Config):
    """The label audit. Without `model`, a diagnostic model is trained on the private set."""

    model: str | None = None
    """A TorchScript file."""
    model_sha256: str | None = None
    steps: Positive = 1200
    refuse_below: Share = 0.05
    """A candidate is refused where the diagnostic model gives the asked level less probability than this."""


class FidelityConfig(_Config):
    """The fidelity audit."""

    extractor: Literal["embedded", "inception"] = "embedded"
    weights: str | None = None
    """Local weights of the extractor; nothing is ever downloaded."""
    weights_sha256: str | None = None
    """Of that file: features decide on membership and disclosure, and weights that see nothing would blind them."""
    neighbours: Positive = 5


class AuditConfig(_Config):
    """All audits."""

    memorisation: MemorisationConfig = MemorisationConfig()
    membership: MembershipConfig = MembershipConfig()
    labels: LabelsConfig = LabelsConfig()
    fidelity: FidelityConfig = FidelityConfig()


class AskedConfig(_Config):
    """Which conditions images are asked for: as private patients have them, or one of these."""

    balanced: str | None = None
    """An attribute whose levels are asked for equally often."""
    rare: str | None = None
    """An attribute whose rarer levels are asked for `at_least` times, the others as private patients have them."""
    at_least: Positive = 1
    table: str | None = None
    """A CSV, JSONL or Parquet file with a column an attribute and one named count."""

    @model_validator(mode="after")
    def _one_way(self) -> AskedConfig:
        named = [key for key in ("balanced", "rare", "table") if getattr(self, key) is not None]
        if len(named) > 1:
            raise ValueError(f"release.asked: found {' and '.join(named)}, expected one of them")
        if ("at_least" in self.model_fields_set) != (self.rare is not None):
            raise ValueError("release.asked: found one of rare and at_least, expected both or neither")
        return self


class ReleaseConfig(_Config):
    """What is to be released."""

    images: Positive = 1000
    asked: AskedConfig = AskedConfig()
    covers: tuple[Literal["images", "model"], ...] = ("images",)
    max_attempts: Annotated[float, Field(ge=1)] = 2.0
    """Circuit breaker: the run stops after this many times `images` candidates."""
    taken_out: str | None = None
    """Of images that exist already (`generator.kind: folder`), a table of those that people took out: `file_name`, `reason`,
    `by`."""


class RunConfig(_Config):
    """A whole run: `synguard.yaml`."""

    name: str = "release"
    seed: int = 0
    image_size: Annotated[int, Field(ge=16, le=1024, multiple_of=8)] = 64
    private: DataSource
    holdout: DataSource
    conditions: tuple[AttributeConfig, ...] = ()
    generator: GeneratorConfig = GeneratorConfig()
    release: ReleaseConfig = ReleaseConfig()
    policy: str = "public-release"
    """A built-in policy's name or the path of a policy file."""
    audits: AuditConfig = AuditConfig()
    skip_unreadable: bool = False
    """Leave out unreadable images of the holdout and of what is to be released. A private image is never left out."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _taken_out_of_given_images(self) -> RunConfig:
        if self.release.taken_out is not None and self.generator.kind != "folder":
            raise ValueError(
                f"release.taken_out: found it for generator.kind {self.generator.kind!r}, expected it for 'folder' alone: "
                "images that are made in a run would be made again"
            )
        return self

    def path(self, value: str, base: Path) -> Path:
        """`value` as a path, relative to the folder of the configuration file."""
        return (base / value).resolve()
