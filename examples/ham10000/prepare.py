"""Split HAM10000 at random into private set, holdout and unseen images, as image folders.

    python examples/ham10000/prepare.py --data DATA --out examples/ham10000/data

DATA holds `ham10000/images_128.tar` and `ham10000/index.csv` (128 px, 7 diagnoses). The index gives every image a lesion
of its own, yet some lesions are there twice, in another zoom or colour correction: twins.csv names them (see
find_twins.py). The split keeps them together, and the column `group` is the lesion as far as is known. The images are
non-commercial; they are not part of synguard.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import tarfile
from collections.abc import Collection
from pathlib import Path

from PIL import Image

COLUMNS = ("file_name", "group", "lesion_id", "dx", "age", "sex", "localization")
TWINS = Path(__file__).with_name("twins.csv")


def read_index(data: Path) -> list[dict[str, str]]:
    """The rows of index.csv, in the file's order."""
    with (data / "ham10000" / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_images(data: Path, size: int, wanted: Collection[str] | None = None) -> dict[str, Image.Image]:
    """All images by image id, or those that are `wanted`, reduced to `size`."""
    images = {}
    with tarfile.open(data / "ham10000" / "images_128.tar") as tar:
        for member in tar:
            name = Path(member.name).stem
            file = tar.extractfile(member) if member.isfile() and (wanted is None or name in wanted) else None
            if file is not None:
                image = Image.open(io.BytesIO(file.read())).convert("RGB")
                images[name] = image.resize((size, size), Image.Resampling.LANCZOS)
    return images


def with_groups(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with the column `group`: the lesion id that photographs of one lesion share."""
    group = {row["image_id"]: row["lesion_id"] for row in rows}
    with TWINS.open(newline="") as file:
        for pair in csv.DictReader(file):
            old, new = group[pair["first"]], group[pair["second"]]
            group = {image: new if name == old else name for image, name in group.items()} if old != new else group
    return [row | {"group": group[row["image_id"]]} for row in rows]


def split(rows: list[dict[str, str]], private: int, holdout: int, seed: int) -> dict[str, list[dict[str, str]]]:
    """Private set, holdout and the unseen rest, at random by group; each group goes where there is room for all of it."""
    members: dict[str, list[dict[str, str]]] = {}
    for row in with_groups(rows):
        members.setdefault(row["group"], []).append(row)
    room = {"private": private, "holdout": holdout, "unseen": len(rows) - private - holdout}
    parts: dict[str, list[dict[str, str]]] = {name: [] for name in room}
    # By digest and not by a shuffle: two lesions that turn out to be one move nothing but themselves.
    for name in sorted(members, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()):
        group = members[name]
        target = next(part for part in room if room[part] >= len(group))
        parts[target] += group
        room[target] -= len(group)
    return parts


def write_folder(folder: Path, rows: list[dict[str, str]], images: dict[str, Image.Image]) -> None:
    """Write an image folder: images/*.png and metadata.csv."""
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            name = f"images/{row['image_id']}.png"
            images[row["image_id"]].save(folder / name)
            writer.writerow({"file_name": name} | {column: row[column] for column in COLUMNS[1:]})


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--private", type=int, default=3000)
    parser.add_argument("--holdout", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    images = read_images(args.data, args.size)
    for name, rows in split(read_index(args.data), args.private, args.holdout, args.seed).items():
        write_folder(args.out / name, rows, images)
        print(f"{args.out / name}: {len(rows)} images")


if __name__ == "__main__":
    main()
