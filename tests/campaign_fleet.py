"""Starts eight launches of one fleet at once, with an archive to extract and foregrounds to make.

    python -m tests.campaign_fleet

The data set is a miniature of MVTec AD with its fifteen categories, packed as its archive. Each
launch has a share of the categories; all have to end well, the archive has to be extracted once,
each foreground made once, and one report has to hold every category. Then eight preparations of all
categories start at once, where every foreground is wanted by every launch. Prints what was found.
Not part of the suite: it takes some minutes on two cores.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from PIL import Image

from configs import mvtec
from data.layouts import mvtec_ad
from tests.helpers import ROOT, SMALL
from tests.miniature import defect, part, rgb, save, surface, write_textures

LAUNCHES, TRAIN, TEST_GOOD, DEFECTIVE = 8, 6, 2, 2

# Starts launch.py with the miniature's hash in place of the published one, and notes every mask
# that is made.
COMMAND = """
import sys
from dataclasses import replace
from data import foreground
from data.layouts import mvtec_ad
digest, log, *arguments = sys.argv[1:]
mvtec_ad.ARCHIVE = replace(mvtec_ad.ARCHIVE, sha256=digest)
store = foreground._store
def store_and_note(mask, path):
    with open(log, "a") as file:
        file.write(path.name + chr(10))
    store(mask, path)
foreground._store = store_and_note
import launch, tests.tiny
sys.argv = ["launch.py", *arguments]
launch.app.run(launch.main, flags_parser=launch.parse_flags)
"""


def write_archive(directory: Path) -> str:
    """Writes the miniature as MVTec AD's archive and returns its SHA-256."""
    tree = directory / "tree"
    for number, category in enumerate(mvtec_ad.CATEGORIES):
        draw = surface if category in mvtec_ad.TEXTURES else part
        for index in range(TRAIN):
            image = rgb(draw(1000 * number + index))
            save(image, tree / category / "train" / "good" / f"{index:03}.png")
        for index in range(TEST_GOOD):
            image = rgb(draw(1000 * number + 500 + index))
            save(image, tree / category / "test" / "good" / f"{index:03}.png")
        for index in range(DEFECTIVE):
            image, mask = defect(draw(1000 * number + 700 + index), index)
            save(rgb(image), tree / category / "test" / "hole" / f"{index:03}.png")
            path = tree / category / "ground_truth" / "hole" / f"{index:03}_mask.png"
            save(Image.fromarray(mask), path)
    archive = directory / "data" / mvtec_ad.ARCHIVE.file_name
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as file:
        for path in sorted(tree.iterdir()):
            file.add(path, path.name)
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def main() -> int:
    """Runs the campaign; returns 0 if everything is as it has to be."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        digest = write_archive(base)
        write_textures(base / "textures")
        log, workdir = base / "masks.log", base / "run"
        fields = SMALL | {
            "train.epochs": 1,
            "data.root": base / "data",
            "data.textures": base / "textures",
            "data.foreground": "threshold",
        }

        def start(*arguments: str, tfds: str = "tfds") -> subprocess.Popen:
            options = [f"--config.{name}={value}" for name, value in fields.items()]
            common = [sys.executable, "-c", COMMAND, digest, str(log), f"--workdir={workdir}"]
            return subprocess.Popen(
                [*common, "--config=configs/mvtec.py", *options, *arguments],
                cwd=ROOT,
                env=os.environ | {"TFDS_DATA_DIR": str(base / tfds)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        def finish(what: str, processes: list[subprocess.Popen]) -> bool:
            """Waits for processes, prints what they made, and says whether all is well."""
            started = time.monotonic()
            outputs = [process.communicate() for process in processes]
            codes = [process.returncode for process in processes]
            print(f"{what}: exit codes {codes} after {time.monotonic() - started:.0f} s")
            for code, (_, err) in zip(codes, outputs, strict=True):
                if code:
                    print(err)
            verified = sum(out.count("verifying") for out, _ in outputs)
            masks = log.read_text().split()
            log.unlink()
            wanted = len(mvtec_ad.OBJECTS) * TRAIN
            print(
                f"  archive verified and extracted {verified} times; {len(masks)} foregrounds made "
                f"for {wanted} images, {len(set(masks))} different"
            )
            return not any(codes) and len(masks) == len(set(masks)) == wanted

        shares = [start(f"--config.data.shard={i}/{LAUNCHES}") for i in range(LAUNCHES)]
        well = finish("a fleet", shares)
        merging = start("--job=report")
        out, err = merging.communicate()
        print(out, err)
        results = json.loads((workdir / "results.json").read_text())
        well &= not merging.returncode and sorted(results["categories"]) == sorted(mvtec.EPOCHS)
        shutil.rmtree(base / "data" / mvtec_ad.ARCHIVE.stem)
        alike = [start("--job=prepare", tfds="other") for _ in range(LAUNCHES)]
        well &= finish("preparations", alike)
        remains = [*base.rglob("*.partial"), *base.rglob("*tmp*")]
        print(f"half-written files left: {len(remains)}")
        return int(not well or bool(remains))


if __name__ == "__main__":
    sys.exit(main())
