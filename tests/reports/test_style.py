"""The palette holds the contrasts of WCAG 2.2 AA, in light, dark and print."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("reports").joinpath("templates/style.css").read_text(encoding="utf-8")
TEXT = 4.5
GRAPHICS = 3.0


def _palettes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return {
        name: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", b))
        for name, b in zip(("light", "dark", "print"), blocks, strict=True)
    }


def _heat(palette: str) -> tuple[float, float, float]:
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[("light", "dark", "print").index(palette)]
    found = re.search(r"--heat: (\d+), (\d+), (\d+);", block)
    assert found is not None
    return float(found[1]), float(found[2]), float(found[3])


def _rgb(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(rgb: tuple[float, float, float]) -> float:
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2.2, definition of contrast ratio."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself() -> None:
    assert _contrast(_rgb("#000000"), _rgb("#ffffff")) == pytest.approx(21)
    assert _contrast(_rgb("#bebebe"), _rgb("#f5f5f5")) == pytest.approx(1.7, abs=0.05)


@pytest.mark.parametrize("palette", ["light", "dark", "print"])
def test_text_is_readable(palette: str) -> None:
    colours = _palettes()[palette]
    pairs = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("bg", "panel")]
    for tone in ("pass", "warn", "fail", "open", "quiet"):
        pairs += [(tone, "bg"), (tone, f"{tone}-bg"), ("ink", f"{tone}-bg"), ("muted", f"{tone}-bg")]
    for ink, ground in pairs:
        assert _contrast(_rgb(colours[ink]), _rgb(colours[ground])) >= TEXT, f"{ink} on {ground}"


@pytest.mark.parametrize("palette", ["light", "dark", "print"])
def test_drawings_are_visible(palette: str) -> None:
    colours = _palettes()[palette]
    for line in ("synthetic", "holdout", "planted", "line-strong", "fail", "focus"):
        if line in colours:
            assert _contrast(_rgb(colours[line]), _rgb(colours["bg"])) >= GRAPHICS, line
    for tone in ("pass", "warn", "fail", "open", "quiet"):  # the sign in its disc
        assert _contrast(_rgb(colours["panel"]), _rgb(colours[tone])) >= GRAPHICS, tone


@pytest.mark.parametrize("palette", ["light", "dark", "print"])
def test_figures_are_readable_on_every_shade_of_a_confusion(palette: str) -> None:
    colours = _palettes()[palette]
    shades = re.findall(r"\.h(\d+) \{ background: rgba\(var\(--heat\), ([.\d]+)\); \}", STYLE)
    assert [int(step) for step, _ in shades] == list(range(11))
    ground, heat = _rgb(colours["bg"]), _heat(palette)
    for step, alpha in shades:
        mixed = tuple(float(alpha) * h + (1 - float(alpha)) * g for h, g in zip(heat, ground, strict=True))
        assert _contrast(_rgb(colours["ink"]), (mixed[0], mixed[1], mixed[2])) >= TEXT, step


def test_print_looks_like_light() -> None:
    palettes = _palettes()
    assert {name: palettes["light"][name] for name in palettes["print"] if name != "bg"} == {
        name: colour for name, colour in palettes["print"].items() if name != "bg"
    }
    for needed in ("size: A4", "counter(page)", "table-header-group"):
        assert needed in STYLE
