"""Prompts by a template file."""

from pathlib import Path

import pandas as pd
import pytest

from generation.text_to_image.prompts import PLAIN, Prompts
from synguard.errors import ConfigError, InputError

ATTRIBUTES = ("dx", "is_gc")
SKIN = Path(__file__).parents[3] / "examples" / "prompts" / "skin.yaml"
VARIED = 'instance: "a {token} {dx}"\ntemplate: "{size} {token} {dx}"\nvary: {size: [small, large]}\n'


def written(folder, text):
    path = folder / "prompts.yaml"
    path.write_text(text)
    return path


def read(path):
    return Prompts.read(path, token="sks", attributes=ATTRIBUTES)


def test_the_plain_file():
    prompts = read(PLAIN)
    row = {"dx": "nv", "is_gc": 1}
    assert prompts.of_training(row) == prompts.of_candidate(row, 5) == "a photo of sks dx nv, gc"
    assert prompts.of_training({"dx": pd.NA, "is_gc": 0}) == "a photo of sks"


def test_number_size_and_skin_vary_with_the_seed_alone():
    prompts = read(SKIN)
    row = {"dx": "nv", "is_gc": 0}
    found = [prompts.of_candidate(row, seed) for seed in range(500)]
    assert found == [prompts.of_candidate(row, seed) for seed in range(500)]
    assert len(set(found)) == 3 * 3 * 5
    assert all("sks dx nv on" in prompt for prompt in found)
    other = [prompts.of_candidate({"dx": "mel", "is_gc": 0}, seed) for seed in range(500)]
    assert [prompt.replace("mel", "nv") for prompt in other] == found


def test_attributes_by_name_and_what_is_unknown(tmp_path):
    prompts = read(written(tmp_path, 'instance: "{dx}, {token}, {is_gc} here"\ntemplate: "{token} {is_gc}"\n'))
    assert prompts.of_training({"dx": "nv", "is_gc": 1}) == "dx nv, sks, gc here"
    assert prompts.of_training({"dx": "nv", "is_gc": None}) == "dx nv, sks, here"
    assert prompts.of_candidate({"dx": "{token}", "is_gc": 0}, 1) == "sks"
    with pytest.raises(InputError, match="conditions: found dx, expected the attribute is_gc of the prompt"):
        prompts.of_candidate({"dx": "nv"}, 1)


def test_a_value_in_braces_is_no_field(tmp_path):
    prompts = read(written(tmp_path, 'instance: "{token} {dx}"\ntemplate: "{token} {dx}"\n'))
    assert prompts.of_training({"dx": "{token}", "is_gc": 0}) == "sks dx {token}"


def test_a_folder_gives_back_what_was_stored(tmp_path):
    import json

    prompts = read(SKIN)
    assert Prompts.of_folder(tmp_path) is None
    (tmp_path / "prompts.json").write_text(json.dumps(prompts.stored))
    assert Prompts.of_folder(tmp_path) == prompts
    (tmp_path / "prompts.json").write_text("[]")
    with pytest.raises(InputError, match=r"prompts.json: found no prompts"):
        Prompts.of_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VARIED + "vary: {}\n", r"prompts.yaml:4:1: vary: found a duplicate key"),
        (VARIED + "negative: blurry\n", r"prompts.yaml:4:1: negative: found an unknown key, expected one of instance"),
        ("instance: !!python/object/apply:os.system [ls]\n", r"found the tag tag:yaml.org,2002:python"),
        ("- a\n", "the file: found no mapping"),
        ('instance: "{token}"\n', "template: found nothing, expected a prompt"),
        ('instance: 3\ntemplate: "{token}"\n', "instance: found no text"),
        (VARIED.replace("{size} ", ""), r"vary.size: found words that the template does not use, expected \{size\} in it"),
        (
            VARIED.replace("a {token}", "a {size} {token}"),
            r"instance: found the field \{size\}, expected one of \{condition\}",
        ),
        (VARIED.replace("a {token}", "a {token.__class__}"), r"instance: found the field \{token.__class__\}"),
        (VARIED.replace("a {token}", "a {token:>9}"), r"instance: found the field \{token:>9\}"),
        (VARIED.replace("a {token}", "a {token"), "instance: found .*expected fields as"),
        (VARIED.replace("a {token}", "a"), "template: found the token in one of instance and template"),
        (VARIED.replace("[small, large]", "[]"), "vary.size: found no list of words"),
        (VARIED.replace("[small, large]", "[small, 3]"), "vary.size: found no list of words"),
        (VARIED.replace("size", "dx"), "vary.dx: found the name of an attribute"),
    ],
)
def test_files_that_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read(written(tmp_path, text))


def test_no_file(tmp_path):
    with pytest.raises(ConfigError, match="expected a prompt template file"):
        read(tmp_path / "none.yaml")
