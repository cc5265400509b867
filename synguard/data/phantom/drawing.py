"""Drawing one phantom photograph: anatomy, signs of disease, faults of readability, camera and light.

Every sign is large, of high contrast, and has a place or a colour of its own, so that it can be seen at 32 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from synguard.data.phantom.anatomy import Anatomy, Colour, Floats, draw_anatomy
from synguard.protocols import Images

__all__ = ["draw"]

_Plane = NDArray[np.float32]

_SHOT = 7104
_GREYS = np.arange(256) - 128
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 21)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 21)[:-1])], axis=1)


def draw(labels: Mapping[str, str], *, size: int, seed: int, patient: int, photograph: int) -> Images:
    """The photograph (size, size, 3) with these labels, as `labels.photograph_labels` gives them; size from 16 pixels.

    The same arguments give the same pixels. `patient` and `labels["eye_side"]` decide the eye, `photograph` the camera's
    position and light and a few of the lesions.
    """
    rng = np.random.default_rng([seed, _SHOT, patient, photograph])
    right = labels["eye_side"] == "right"
    canvas = _Canvas(size, rng, right)
    eye = draw_anatomy(seed, patient, right)
    if labels["is_fundus"] == "0":
        _external_eye(canvas, eye)
        return _develop(canvas, rng, size, aperture=False)
    canvas.background(eye)
    signs = {name for name, value in labels.items() if value == "1"}
    _vessels(canvas, eye, "is_htr" in signs)
    _disc(canvas, eye, signs)
    _macula(canvas, eye, signs)
    _periphery(canvas, eye, signs)
    _retinopathy(canvas, eye, int(labels["dr_grade"]), rng)
    _faults(canvas, eye, signs, rng)
    return _develop(canvas, rng, size, aperture=True)


class _Canvas:
    """A picture twice as large as asked for, drawn on in retina coordinates through a slightly displaced camera."""

    def __init__(self, size: int, rng: np.random.Generator, right: bool) -> None:
        self.side = 2 * size
        turn, zoom = rng.normal(0, math.radians(4)), rng.uniform(0.94, 1.06)
        matrix = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        if not right:
            matrix = matrix @ np.diag([-1.0, 1.0])
        self.matrix: Floats = matrix * (self.side / 2)
        self.shift: Floats = (1 + rng.uniform(-0.05, 0.05, 2)) * (self.side / 2)
        self.scale = zoom * self.side / 2
        self._set(Image.new("RGB", (self.side, self.side)))

    def _set(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image, "RGBA")

    def background(self, eye: Anatomy) -> None:
        """Pigment and texture, which moves with the retina."""
        inverse = np.linalg.inv(self.matrix) * (len(eye.texture) / 2.4)
        offset = len(eye.texture) / 2 - inverse @ self.shift
        coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
        texture = Image.fromarray(eye.texture).transform(
            (self.side, self.side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC, fillcolor=128
        )
        colours = np.clip(np.rint(eye.pigment + _GREYS[:, None] * (0.6, 0.5, 0.3)), 0, 255).astype(np.uint8)
        self._set(Image.fromarray(colours[np.asarray(texture)]))

    def shape(self, points: Floats, colour: Colour, alpha: int = 255) -> None:
        """A filled polygon."""
        self._draw.polygon((points @ self.matrix.T + self.shift).ravel().tolist(), fill=(*colour, alpha))

    def blob(self, at: Floats, radius: float | tuple[float, float] | Floats, colour: Colour, alpha: int = 255) -> None:
        """A filled ellipse with axes along x and y."""
        self.shape(_CIRCLE * radius + at, colour, alpha)

    def line(self, points: Floats, width: float, colour: Colour, alpha: int = 255) -> None:
        """A line of that width in units of the retina's radius."""
        pixels = max(1, round(width * self.scale))
        self._draw.line((points @ self.matrix.T + self.shift).ravel().tolist(), fill=(*colour, alpha), width=pixels)

    def lines(self, curves: Floats, widths: Floats, colours: Sequence[Colour]) -> None:
        """Several lines (n, k, 2), the first on top, that taper half-way."""
        flat = (curves @ self.matrix.T + self.shift).reshape(len(curves), -1).tolist()
        wide = np.maximum(1, np.rint(widths * self.scale)).astype(int).tolist()
        thin = np.maximum(1, np.rint(widths * 0.65 * self.scale)).astype(int).tolist()
        half = curves.shape[1] // 2 * 2
        for i in reversed(range(len(curves))):
            self._draw.line(flat[i][: half + 2], fill=colours[i], width=wide[i])
            self._draw.line(flat[i][half:], fill=colours[i], width=thin[i])


def _vessels(canvas: _Canvas, eye: Anatomy, hypertensive: bool) -> None:
    if hypertensive:  # stiff arterioles shine like copper wire
        canvas.lines(eye.vessels, eye.widths * 1.1, [(255, 214, 96)] * len(eye.vessels))
    else:
        canvas.lines(eye.vessels, eye.widths, [(128, 14, 18) if artery else (64, 2, 16) for artery in eye.arteries.tolist()])


def _disc(canvas: _Canvas, eye: Anatomy, signs: set[str]) -> None:
    """Optic disc and cup; pathological myopia, anomaly of the optic nerve, glaucoma."""
    radius = np.array(eye.disc_radius)
    vary = eye.variation
    if "is_pm" in signs:  # a wide pale crescent on the side of the macula
        canvas.blob(
            eye.disc - np.array([0.11 + 0.07 * vary[0], 0.12 * vary[10] - 0.06]),
            radius + 0.08 + 0.08 * vary[1:3],
            (250, 238, 200),
            235,
        )
    if "is_aon" in signs:  # swollen, red, without a cup
        canvas.blob(eye.disc, radius * 1.5, (214, 60, 112), 190)
        canvas.blob(eye.disc, radius * 1.25, (240, 96, 150), 255)
    else:
        canvas.blob(eye.disc, radius, (246, 176, 92))
    if "is_gc" in signs:  # the cup takes nearly all of the disc
        canvas.blob(eye.disc, radius * (0.84 + 0.08 * vary[3]), (225, 255, 250))
    elif "is_aon" not in signs:
        canvas.blob(eye.disc, radius * eye.cup, (255, 226, 160))
    for points, width in zip(eye.vessels[:4], eye.widths[:4].tolist(), strict=True):
        canvas.line(points[:2], width * 0.7, (130, 20, 20))


def _macula(canvas: _Canvas, eye: Anatomy, signs: set[str]) -> None:
    """Macula; epimacular membrane, drusen, oedema with exudates, macular degeneration."""
    vary = eye.variation
    canvas.blob(eye.macula, 0.17, (60, 10, 6), 90)
    canvas.blob(eye.macula, 0.1, (50, 4, 4), 130)
    if "is_em" in signs:  # a silvery sheet from the macula upwards, with folds
        at = eye.macula - np.array([0.2 * vary[3] - 0.06, 0.24])
        turn, half = np.pi * vary[8], np.array([0.2 + 0.12 * vary[4], 0.2 + 0.08 * vary[9]])
        along = np.array([math.cos(turn), math.sin(turn)])
        canvas.blob(at, half, (150, 190, 235), 215)
        for fold in (-0.12, 0.0, 0.12):
            middle = at + fold * np.array([-along[1], along[0]])
            canvas.line(middle + np.outer([-0.16, 0.16], along), 0.03, (225, 240, 255))
    if "is_dme" in signs:  # an arc of exudates below the macula
        angles = np.radians(np.linspace(50 * vary[9] - 5, 135 + 50 * vary[10], 9))
        arc = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        inner, outer = 0.24 + 0.02 * vary[5], 0.37 + 0.03 * vary[6]
        canvas.shape(np.concatenate([arc * inner, arc[::-1] * outer]) + eye.macula, (255, 246, 30), 245)
    if "is_amd" in signs:  # a ring of drusen
        axes = np.array([0.19 + 0.1 * vary[8], 0.19 + 0.1 * vary[9]])
        for i, angle in enumerate(2 * np.pi * (np.arange(8) / 8 + vary[7])):
            at = eye.macula + axes * (math.cos(angle), math.sin(angle))
            canvas.blob(at, 0.05 + 0.045 * vary[10 + i % 6], (255, 236, 190))
    if "is_dm" in signs:  # a pale hole
        half = np.array([0.1, 0.1]) + 0.07 * vary[14:16]
        canvas.blob(eye.macula, half + 0.04, (70, 6, 20))
        canvas.blob(eye.macula, half, (190, 255, 190))


def _periphery(canvas: _Canvas, eye: Anatomy, signs: set[str]) -> None:
    """Vein occlusion; choroidal and retinal pathology."""
    vary = eye.variation
    if "is_rvo" in signs:  # a fan of flame haemorrhages below, towards the temple
        foot = eye.disc + np.array([-0.18, 0.22])
        for i in range(7):
            angle = math.radians(70 + 30 * vary[16] + 13 * i + 8 * vary[17 + i])
            along = np.array([math.cos(angle), math.sin(angle)])
            across = np.array([-along[1], along[0]])
            far = 0.6 + 0.25 * vary[24 + i % 6]
            outline = np.array(
                [0.05 * along, 0.5 * far * along + 0.07 * across, far * along, 0.5 * far * along - 0.07 * across]
            )
            canvas.shape(foot + outline, (74, 0, 8), 235)
    if "is_crp" in signs:  # a pale scar with a black rim, below, towards the nose
        at = np.array([0.38 + 0.2 * vary[24], 0.66 - 0.12 * vary[24] + 0.06 * vary[25]])
        half = np.array([0.12, 0.12]) + 0.08 * vary[26:28]
        canvas.blob(at, half + 0.085, (16, 10, 10))
        canvas.blob(at, half, (236, 226, 232))


def _retinopathy(canvas: _Canvas, eye: Anatomy, grade: int, rng: np.random.Generator) -> None:
    """Signs of diabetic retinopathy: 1 few haemorrhages, 2 many, 3 also cotton wool spots, 4 also one before the retina."""
    if grade == 0:
        return
    dots, spots = ((4, 0), (10, 0), (9, 5), (7, 0))[grade - 1]
    places = eye.lesions + rng.normal(0, 0.012, eye.lesions.shape)
    for place in places[spots : spots + dots]:
        canvas.blob(place, rng.uniform(0.09, 0.115), (70, 0, 0), 245)
    for place in places[:spots]:
        canvas.blob(place, (rng.uniform(0.11, 0.14), rng.uniform(0.09, 0.12)), (255, 250, 236), 240)
    if grade == 4:  # boat-shaped, level above
        at = np.array([-0.2 + 0.4 * eye.variation[28], -0.72 + 0.08 * eye.variation[29]])
        half = _CIRCLE[:11] * (0.36 + 0.16 * eye.variation[30], 0.28 + 0.12 * eye.variation[31])
        canvas.shape(at + half, (58, 0, 4), 250)


def _faults(canvas: _Canvas, eye: Anatomy, signs: set[str], rng: np.random.Generator) -> None:
    """What makes a region unreadable: shadows over macula and disc, a reflex over part of the retina."""
    if "is_macular_readable" not in signs:
        canvas.blob(eye.macula + rng.normal(0, 0.02, 2), (rng.uniform(0.3, 0.36), rng.uniform(0.28, 0.34)), (8, 8, 12), 250)
    if "is_optic_disc_readable" not in signs:
        canvas.blob(eye.disc + rng.normal(0, 0.02, 2), (rng.uniform(0.3, 0.34), rng.uniform(0.32, 0.4)), (8, 8, 12), 250)
    if "is_retinal_region_readable" not in signs:
        angle = rng.uniform(0, 2 * np.pi)
        at = 1.12 * np.array([math.cos(angle), math.sin(angle)])
        canvas.blob(at, 0.72, (150, 170, 190), 120)
        canvas.blob(at, 0.6, (190, 205, 220), 225)


def _external_eye(canvas: _Canvas, eye: Anatomy) -> None:
    """No retina: the front of the patient's eye, with the red corner towards the nose."""
    vary = eye.variation
    skin = np.array([235, 180, 150]) * (0.4 + 0.6 * vary[0]) + 20 * vary[1:4]
    canvas.background(
        replace(eye, pigment=skin, texture=np.clip(3 * eye.texture.astype(int) - 256, 0, 255).astype(np.uint8))
    )
    x = np.linspace(-1, 1, 13)
    tilt = 0.3 * (vary[4] - 0.5) * x
    upper, lower = (0.3 + 0.35 * vary[5]) * (1 - x**2), (0.25 + 0.3 * vary[6]) * (1 - np.abs(x) ** (1.5 + vary[7]))
    across = (0.7 + 0.2 * vary[8]) * x
    lids = np.concatenate([np.stack([across, tilt - upper], axis=1), np.stack([across, tilt + lower], axis=1)[::-1]])
    canvas.shape(lids, (236, 228, 224))
    canvas.blob(np.array([0.6, 0.3 * (vary[4] - 0.5)]), (0.12 + 0.12 * vary[9], 0.14), (224, 60, 84))
    gaze = np.array([0.7, 0.3]) * (vary[10:12] - 0.5)
    radius = 0.26 + 0.16 * vary[12]
    canvas.blob(gaze, radius, _colour(40 + 110 * vary[13:16]))
    canvas.blob(gaze, radius * (0.3 + 0.35 * vary[16]), (8, 8, 8))
    for i in range(6):  # lashes and brow
        foot = lids[1 + 2 * i] - np.array([0, 0.02])
        canvas.line(
            np.stack([foot, foot - np.array([0.5 * vary[17 + i] - 0.25, 0.1 + 0.3 * vary[24 + i]])]), 0.06, (24, 14, 10)
        )


def _colour(values: Floats) -> Colour:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[_Plane, _Plane, _Plane, _Plane]:
    """x and y (size, size) of the pixels, the vignette, and the round aperture with a soft edge."""
    axis: _Plane = np.linspace(-1 + 1 / size, 1 - 1 / size, size, dtype=np.float32)
    x: _Plane = np.tile(axis, (size, 1))
    y: _Plane = np.ascontiguousarray(x.T)
    radius: _Plane = np.hypot(x, y)
    vignette: _Plane = 1 - 0.22 * radius**2
    mask: _Plane = np.clip((0.97 - radius) * (size / 2) + 0.5, 0, 1)
    return x, y, vignette, mask


def _develop(canvas: _Canvas, rng: np.random.Generator, size: int, *, aperture: bool) -> Images:
    """Reduces to the asked size; light, colour balance, aperture, sensor noise."""
    image = canvas.image.filter(ImageFilter.BoxBlur(0.008 * canvas.side)).reduce(2)
    x, y, vignette, mask = _grid(size)
    slope = rng.normal(0, 0.07, 2).astype(np.float32)
    light = (rng.uniform(0.86, 1.1) + slope[0] * x + slope[1] * y) * vignette
    if aperture:
        light = light * mask
    balance = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    noise = rng.standard_normal((size, size, 3), dtype=np.float32) * 2
    pixels: Images = np.clip(np.rint(np.asarray(image) * light[..., None] * balance + noise), 0, 255).astype(np.uint8)
    return pixels
