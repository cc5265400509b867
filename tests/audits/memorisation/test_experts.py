"""Encoders that the user brings: tiny networks made on the spot, and what they find that our own search was kept from."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from audits.memorisation import prepare, summarise
from audits.memorisation.experts import load_experts
from audits.memorisation.lanes import ExpertLane, ExpertNull
from audits.memorisation.matching import LANES, NOTHING, Matcher, Matches
from audits.memorisation.planted import plant
from audits.memorisation.search import Search
from audits.memorisation.verdict import Calibration, Found
from synguard.config import ExpertConfig, MemorisationConfig
from synguard.errors import InputError, IntegrityError
from tests.support.textures import digests, image_set, textures

PRIVATE, UNSEEN = textures(90, 1), textures(60, 3)


class Thumbnail(nn.Module):
    """Coarse brightness and what a fixed convolution sees: enough to know a texture again, in a dihedral view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.filters = nn.Conv2d(3, 4, 9, stride=6, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = functional.adaptive_avg_pool2d(self.filters(images).abs(), 6).flatten(1)
        small = functional.adaptive_avg_pool2d(images, 6)
        small = (small - small.mean((2, 3), keepdim=True)).flatten(1)
        return torch.cat((small, 0.1 * (seen - seen.mean(1, keepdim=True))), 1)


def entry(kind, path, model=None):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ExpertConfig(kind=kind, path=path.name, sha256=digest, model=model)


# timm and open_clip take seconds to import: only who runs these tests needs them.


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import open_clip
    import timm

    folder = tmp_path_factory.mktemp("experts")
    torch.jit.script(Thumbnail().eval()).save(str(folder / "sscd.pt"))
    torch.manual_seed(1)
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), folder / "vit.safetensors")
    tower = {"image_size": 28, "layers": 1, "width": 32, "head_width": 16, "patch_size": 14}
    words = {"context_length": 4, "vocab_size": 16, "width": 8, "heads": 1, "layers": 1}
    shape = {"embed_dim": 24, "vision_cfg": tower, "text_cfg": words}
    (folder / "synguard-tiny-clip.json").write_text(json.dumps(shape))
    open_clip.add_model_config(folder / "synguard-tiny-clip.json")
    torch.save(open_clip.CLIP(**shape).state_dict(), folder / "clip.pt")
    return folder


@pytest.fixture(scope="module")
def entries(files):
    return (
        entry("sscd", files / "sscd.pt"),
        entry("timm", files / "vit.safetensors", "test_vit"),
        entry("open-clip", files / "clip.pt", "synguard-tiny-clip"),
    )


@pytest.fixture(scope="module")
def config(entries):
    return MemorisationConfig(planted_per_transform=3, experts=entries[::2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("index") / "made"


def made(config, files, folder=None, calibration=60, private=PRIVATE):
    return prepare(
        image_set(private, "private"),
        image_set(textures(calibration, 2), "calibration"),
        config=config,
        seed=5,
        folder=folder,
        experts=load_experts(config.experts, files),
    )


@pytest.fixture(scope="module")
def prepared(config, files, folder):
    return made(config, files, folder)


@pytest.fixture
def blindfolded(monkeypatch):
    """Our own search names nothing; what experts name is still added."""
    own = Search.starts

    def none(self, images, count, barred, timer, named=()):
        starts = own(self, images, count, barred, timer)
        nothing = [part.without(torch.ones_like(part.image, dtype=torch.bool)) for part in starts]
        whole, coarse = self.sharp.queries(images), self.coarse.queries(images)
        for seen in named:
            nothing[:2] = self._also(seen, whole, coarse, *nothing[:2])
        return tuple(nothing)

    monkeypatch.setattr(Search, "starts", none)


@pytest.mark.parametrize(("number", "side", "dimension"), [(0, 288, 252), (1, 160, 64), (2, 28, 24)])
def test_each_kind_embeds_at_its_size_and_by_image(entries, files, number, side, dimension):
    (expert,) = load_experts(entries[number : number + 1], files)
    assert (expert.side, expert.dimension) == (side, dimension)
    assert expert.name == f"expert-{entries[number].kind}"
    whole = expert.embed(PRIVATE[:40])
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    assert np.allclose(whole[35:], expert.embed(PRIVATE[35:40]), atol=1e-5)
    views = expert.embed_views(PRIVATE[:3])
    assert np.allclose(views[:, 0], whole[:3], atol=1e-5)
    assert np.allclose(views[:, 4], expert.embed(PRIVATE[:3, :, ::-1]), atol=1e-5)
    assert expert.embed_views(PRIVATE[:0]).shape == (0, 8, dimension)


def test_the_networks_are_those_of_the_files(entries, files):
    """Against the packages themselves, on images that need no resizing."""
    import open_clip
    import timm

    _, vit, clip = load_experts(entries, files)
    network = timm.create_model("test_vit", pretrained=False, checkpoint_path=str(files / "vit.safetensors")).eval()
    pixels = textures(3, 8, size=160)
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features((planes - 0.5) / 0.5), pre_logits=True)
    assert np.allclose(vit.embed(pixels), functional.normalize(expected, dim=1), atol=1e-4)
    model = open_clip.create_model("synguard-tiny-clip", pretrained=str(files / "clip.pt")).eval()
    pixels = textures(3, 8, size=28)
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    with torch.inference_mode():
        expected = model.encode_image((planes - mean) / std, normalize=True)
    assert np.allclose(clip.embed(pixels), expected, atol=1e-4)


def test_a_second_network_of_a_kind_has_a_name_of_its_own(entries, files):
    assert [expert.name for expert in load_experts((entries[0], entries[0]), files)] == ["expert-sscd", "expert-sscd-2"]


@pytest.mark.parametrize("number", range(3))
def test_another_digest_is_refused(entries, files, number):
    other = entries[number].model_copy(update={"sha256": "0" * 64})
    with pytest.raises(IntegrityError, match=f"{other.path}: found sha256"):
        load_experts((other,), files)


@pytest.mark.parametrize(
    ("kind", "file", "model", "found"),
    [
        ("timm", "vit.safetensors", "nonesuch", "found the timm model 'nonesuch'"),
        ("timm", "vit.safetensors", "test_resnet", "found .* tensors missing"),
        ("timm", "sscd.pt", "test_vit", "not a set of tensors"),
        ("open-clip", "clip.pt", "nonesuch", "found the OpenCLIP model 'nonesuch'"),
        ("open-clip", "vit.safetensors", "synguard-tiny-clip", "found .* tensors missing"),
        ("sscd", "clip.pt", None, "torch.jit.load refuses"),
    ],
)
def test_files_of_another_network_are_refused(files, kind, file, model, found):
    with pytest.raises(InputError, match=found):
        load_experts((entry(kind, files / file, model),), files)


def test_a_missing_file_and_a_missing_package_are_named(entries, files, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="nothing is downloaded"):
        load_experts(entries[1:2], tmp_path)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'synguard\[experts\]'"):
        load_experts(entries[1:2], files)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "vit"},
        {"kind": "timm"},
        {"kind": "timm", "model": "hf-hub:timm/vit"},
        {"kind": "open-clip", "model": "local-dir:/x"},
        {"sha256": "12"},
        {"kind": "dino"},
    ],
)
def test_the_configuration_takes_no_hub_and_no_guess(change):
    with pytest.raises(ValidationError):
        ExpertConfig(**({"kind": "sscd", "path": "x.pt", "sha256": "0" * 64} | change))


def test_the_null_makes_scores_about_standard_normal():
    figures = np.random.default_rng(0).normal([0.4, 0.1], [0.1, 0.02], (4000, 2))
    scores = ExpertNull.measure(figures).score(figures)
    assert 0.03 < (scores > 1.645).mean() < 0.11
    assert ExpertNull.measure(figures[:19]) is None


def test_an_expert_without_a_null_names_and_does_not_score(entries, files):
    lane = ExpertLane.build(load_experts(entries[:1], files)[0], PRIVATE[:1])
    named = lane.look(PRIVATE[:1])
    assert named.image.tolist() == [0]
    assert named.figures[0, 1] == 0
    assert lane.matches(named).score.tolist() == [NOTHING]
    barred = lane.look(PRIVATE[:1], np.ones((1, 1), bool))
    assert replace(lane, null=ExpertNull((0.0, 0.0), (1.0, 1.0))).matches(barred).score.tolist() == [NOTHING]


@pytest.mark.usefixtures("blindfolded")
@pytest.mark.parametrize("name", ["jpeg-40", "mirrored", "crop-80"])
def test_what_an_expert_names_is_verified_by_the_alignment(prepared, name):
    rows = np.arange(20, 40)
    pixels = plant(PRIVATE[rows], name, np.random.default_rng(9))
    found = prepared.examine(pixels, digests(pixels))
    right = found.nearest == rows
    assert (found.flagged & right).sum() >= (8 if name == "crop-80" else 18)
    assert set(found.match[found.flagged]) <= set(LANES)
    alone = replace(prepared, experts=()).examine(pixels, digests(pixels))
    assert not alone.flagged[alone.lane != "exact"].any()


def test_what_an_expert_finds_alone_is_reviewed_and_never_called(prepared, monkeypatch):
    """Our own lanes switched off altogether."""
    monkeypatch.setattr(Matcher, "match", lambda self, queries, *_: [Matches.none(len(queries)) for _ in LANES])
    rows = np.arange(10)
    pixels = plant(PRIVATE[rows], "jpeg-40", np.random.default_rng(9))
    found = prepared.examine(pixels, digests(pixels))
    assert np.char.startswith(found.match, "expert-").all()
    assert (found.nearest == rows).sum() >= 9
    assert np.median(found.p_value) == 1 / (len(prepared.calibration.scores) + 1)
    assert not (found.flagged | found.near_copy).any()
    assert (found.copied_area == 0).all()


def test_an_experts_match_is_never_sound_and_hides_no_copy():
    own = replace(Matches.none(2), image=np.array([3, 4]), score=np.array([9.0, 1.0]), figures=np.full((2, 5), 2.0))
    named = replace(Matches.none(2), image=np.array([5, 6]), score=np.array([20.0, 20.0]), figures=np.full((2, 5), 2.0))
    found = Found(own, np.array([0, 0]), np.ones((2, 16, 16)), np.ones(2), named, np.array([0, 0]))
    calibration = Calibration(np.zeros(5), 4.0, 5.0, (), "calibration", np.zeros(5, int))
    near, verified = calibration.decide(found)
    assert near.tolist() == verified.tolist() == [True, False]
    assert found.score.tolist() == [20, 20]
    assert found.image.tolist() == [5, 6]
    told = found.told(near)
    assert told.matches.image.tolist() == [3, 6]
    assert told.sound.tolist() == [True, False]
    again = Found.join([found.take(np.array([0])), found.take(np.array([1]))])
    assert again.score.tolist() == [20, 20]
    assert again.told(near).matches.image.tolist() == [3, 6]


def test_p_values_of_unseen_images_are_about_uniform(prepared):
    found = prepared.examine(UNSEEN, digests(UNSEEN))
    assert not found.flagged.any()
    assert np.char.startswith(found.match, "expert-").any()
    for level in (0.1, 0.25, 0.5, 0.75):
        # 60 against 60: the standard deviation of the share is at most sqrt(0.25 / 60 * 2).
        assert abs((found.p_value <= level).mean() - level) < 0.22
    order = np.arange(60)[::-1]
    mixed = prepared.examine(UNSEEN[order], digests(UNSEEN[order]))
    assert np.allclose(mixed.p_value[::-1], found.p_value)


def test_few_calibration_images_let_private_ones_stand_in(config, files):
    few = made(config, files, calibration=6, private=PRIVATE[:32])
    assert all(lane.null is not None for lane in few.experts)
    scores = few.search(UNSEEN[:20]).score
    assert np.median(scores) < few.calibration.verified


def test_the_index_keeps_embeddings_and_belongs_to_its_experts(prepared, config, entries, files, folder, tmp_path):
    assert {"expert-sscd.npy", "expert-open-clip.npy"} <= {path.name for path in folder.iterdir()}
    moved = tmp_path / "elsewhere"
    shutil.copytree(files, moved)
    again = made(config, moved, folder)
    assert "calibration" not in again.seconds
    assert [lane.null for lane in again.experts] == [lane.null for lane in prepared.experts]
    expected = prepared.examine(UNSEEN[:10], digests(UNSEEN[:10]))
    assert np.allclose(again.examine(UNSEEN[:10], digests(UNSEEN[:10])).score, expected.score, atol=1e-4)
    for other in ((), entries[:1], entries[:2]):
        with pytest.raises(IntegrityError, match="another configuration"):
            made(config.model_copy(update={"experts": other}), files, folder)


def test_an_index_whose_expert_was_blinded_is_refused(config, files, folder, prepared, tmp_path):
    shutil.copytree(folder, tmp_path / "index")
    meta = json.loads((folder / "meta.json").read_text())
    for null in meta["record"]["experts"]:
        null["spread"] = [1e3, 1e3]
    (tmp_path / "index" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(IntegrityError, match="no longer sees its planted copies"):
        made(config, files, tmp_path / "index")


def test_the_report_names_them(prepared):
    found = prepared.examine(UNSEEN[:4], digests(UNSEEN[:4]))
    kind = summarise(found, ~found.flagged, prepared.planted(), prepared).evidence["index"]["kind"]
    for lane in prepared.experts:
        assert lane.expert.name in kind
        assert f"sha256 {lane.expert.digest[:12]}" in kind


def test_experts_that_were_configured_must_be_there(config):
    with pytest.raises(ValueError, match="found 0 loaded, expected the 2"):
        prepare(image_set(PRIVATE, "private"), image_set(UNSEEN, "unseen"), config=config, seed=0, folder=None)
