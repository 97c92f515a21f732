"""The same numbers on any number of devices and processes; categories dealt out; one for all."""

import csv
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from configs import btad, mvtec
from data.catalog import Catalog, Sample, share_catalogs, unite
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs.train import train
from dtsnet_jax.training.records import read_records
from tests.helpers import (
    MVTEC_TRAIN_IMAGES,
    ROOT,
    SMALL,
    final_state,
    launch,
    launch_small,
    only_result,
    seed_run,
    small_config,
)

# Sums over devices are rounded otherwise than sums over one. Adam divides by the root of the
# squared gradient, so that in its first steps a rounding error in a tiny gradient moves a weight as
# far as a large gradient would: float32 losses drift by parts in a thousand. In float64 the same
# program has to agree closely, weights included: draws, samples and statistics are the same.
LOSS_TOLERANCE, FLOAT64_TOLERANCE = 5e-3, 1e-7

ON_DEVICES = """
import sys
import jax, jax.numpy as jnp, numpy as np
from dtsnet_jax.devices.mesh import replicate, split_batch
from dtsnet_jax.training.step import make_train_step
from tests.helpers import KEY, random_batches, start
from tests.model.networks import draw_network
jax.config.update("jax_enable_x64", True)
network, *arrays = draw_network()
arrays = jax.tree.map(lambda x: np.asarray(x, "float64"), arrays)
for devices in (1, 2, 8):
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("data",), auto, devices=jax.devices()[:devices])
    teacher, params, batch_stats = jax.tree.map(jnp.asarray, arrays)
    optimizer, state = start(params, batch_stats)
    state, teacher = replicate((state, teacher), mesh)
    batch = split_batch(random_batches(batch=16, size=32), mesh)
    # Once compiled, it takes nothing that is placed otherwise.
    key = replicate(KEY, mesh)
    step = make_train_step(network, optimizer).lower(state, teacher, batch, key).compile()
    losses = []
    for _ in range(5):
        with jax.transfer_guard("disallow"):
            state, metrics = step(state, teacher, batch, key)
        losses.append(metrics.loss)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    np.savez(f"{sys.argv[1]}/{devices}.npz", *leaves, losses=losses, program=step.as_text())
"""


def environment(devices):
    """Of a process with so many devices, between which nothing is moved without being asked."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    guard = {"JAX_TRANSFER_GUARD_DEVICE_TO_DEVICE": "disallow"}
    return os.environ | guard | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def five_steps(tmp_path_factory):
    """Losses, weights and compiled program of five steps on 1, 2 and 8 devices."""
    directory = tmp_path_factory.mktemp("devices")
    subprocess.run(
        [sys.executable, "-c", ON_DEVICES, str(directory)],
        cwd=ROOT,
        env=environment(devices=8),
        check=True,
    )
    return {devices: np.load(directory / f"{devices}.npz") for devices in (1, 2, 8)}


@pytest.mark.parametrize("devices", [2, 8])
def test_five_steps_do_not_depend_on_the_number_of_devices(five_steps, devices):
    one, many = five_steps[1], five_steps[devices]
    assert one["losses"].dtype == np.float64
    assert one["losses"][-1] < one["losses"][0]
    np.testing.assert_allclose(many["losses"], one["losses"], rtol=FLOAT64_TOLERANCE)
    weights = [name for name in one.files if name.startswith("arr_")]
    assert len(weights) > 50
    for name in weights:
        np.testing.assert_allclose(many[name], one[name], atol=FLOAT64_TOLERANCE)


def test_gradients_are_reduced_and_no_weight_is_gathered(five_steps):
    text = {devices: str(result["program"]) for devices, result in five_steps.items()}
    assert " all-reduce(" not in text[1]
    for devices in (2, 8):
        assert " all-reduce(" in text[devices]
        assert " all-gather(" not in text[devices]


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


STEPS = 8
LONGER = {
    "detector": "student+knn",
    "knn.coreset_size": 40,
    "train.batch_size": 8,
    "train.epochs": STEPS,
    "train.learning_rate": 5e-4,
}

# The command line, which ends when the second process gets a signal, and the same job once more.
STOPPED_AND_CONTINUED = """
import sys
from contextlib import nullcontext
from pathlib import Path
import launch, tests.tiny
from dtsnet_jax.jobs import do_job
from dtsnet_jax.run import Run
from tests.signals import signal_after
with signal_after(4) if "--process=1" in sys.argv else nullcontext():
    try:
        launch.app.run(launch.main, flags_parser=launch.parse_flags)
    except SystemExit as ended:
        code = ended.code
workdir = Path(launch.flags.FLAGS.workdir)
run = Run(workdir)
step = run.seed_run("parts", 111).trained_step
print("exit code", code, "at step", step, file=sys.stderr)
do_job("train", run.config(), workdir)
"""


def train_alone(root, workdir):
    """In this process, on one device."""
    config = small_config(root)
    config.update_from_flattened_dict(LONGER)
    train(config, workdir)


def launch_two(root, workdir):
    """The same in two processes of two devices each, see ``STOPPED_AND_CONTINUED``."""
    port = free_port()
    return [
        launch_small(
            root,
            workdir,
            *(f"--coordinator=localhost:{port}", "--processes=2", f"--process={index}"),
            *(f"--config.{name}={value}" for name, value in LONGER.items()),
            program=("-c", STOPPED_AND_CONTINUED),
            env=environment(2),
        )
        for index in range(2)
    ]


def test_two_processes_train_are_stopped_and_continue(own_images, tmp_path):
    train_alone(own_images, tmp_path / "one")
    processes = launch_two(own_images, tmp_path / "two")
    try:
        outputs = [process.communicate(timeout=400) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    for _, err in outputs:
        assert re.search(r"exit code 143 at step [4-6]\n", err)  # one was told, both ended
    assert "I-AUROC" in outputs[0][0]
    assert "I-AUROC" not in outputs[1][0]  # the first process speaks for all
    assert (tmp_path / "two" / "report.html").is_file()

    assert int(final_state(tmp_path / "two").step) == STEPS
    losses = [
        [(r["step"], r["loss"]) for r in read_records(seed_run(tmp_path / name).directory)]
        for name in ("two", "one")
    ]
    assert [step for step, _ in losses[0]] == [*range(2, STEPS + 1, 2)]
    np.testing.assert_allclose(*losses, rtol=LOSS_TOLERANCE)


def test_four_devices_score_new_photographs_as_one_does(own_images, tmp_path):
    config = small_config(own_images)
    config.update_from_flattened_dict(LONGER | {"train.epochs": 1})
    result = only_result(train(config, tmp_path))
    images = tmp_path / "images"
    images.mkdir()
    expected = {}
    for number, one in enumerate(result["images"]):
        path = images / f"{number}.png"
        path.hardlink_to(one["file"])
        expected[str(path)] = one["score"]
    process = launch(
        *("--job=predict", "--workdir", tmp_path, "--images", images, "--noheatmaps"),
        env=environment(4),
    )
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    with (tmp_path / "predictions" / "predictions.csv").open() as file:
        scores = {row["file"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores == pytest.approx(expected, rel=1e-4)


def test_under_slurm_processes_find_each_other():
    code = (
        "from dtsnet_jax.devices.processes import start_processes; import jax, sys;"
        "start_processes(None, None, None); print(jax.process_count(), jax.device_count());"
        "print(jax.process_index(), jax.device_count(), file=sys.stderr)"
    )
    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment(2)
            | slurm
            | {"SLURM_NTASKS": "2", "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "2 4" in outputs[0][0] and "2 4" not in outputs[1][0]
    assert [f"{index} 4" in err for index, (_, err) in enumerate(outputs)] == [True, True]


def test_shares_are_whole_disjoint_and_of_about_equal_length():
    catalogs = [
        Catalog(name, (Sample(ROOT / "a.png"),) * MVTEC_TRAIN_IMAGES[name], ())
        for name in mvtec.EPOCHS
    ]

    def length(catalog):
        return mvtec.EPOCHS[catalog.category] * len(catalog.train)

    for count in (1, 2, 8, 15):
        shares = share_catalogs(catalogs, count, length)
        names = [c.category for share in shares for c in share]
        assert sorted(names) == sorted(mvtec.EPOCHS)
        visits = [sum(map(length, share)) for share in shares]
        if count == 2:
            assert max(visits) < 1.05 * min(visits)
    with pytest.raises(UserError, match="at most 15"):
        share_catalogs(catalogs, 16, lambda c: 1)


def test_one_model_for_all_categories_reports_on_each(miniatures, tmp_path):
    config = btad.get_config()
    config.update_from_flattened_dict(
        SMALL | {"train.epochs": 1, "data.root": str(miniatures / "btad"), "data.category": "all"}
    )
    config.update_from_flattened_dict(
        {"data.foreground": "none", "data.textures": str(miniatures / "textures")}
    )
    (report,) = train(config, tmp_path / "run").values()
    assert list(report["categories"]) == ["01", "02", "03"]
    assert [path.parts[-3] for path in (tmp_path / "run").glob("*/*/checkpoints")] == ["all"]
    results = [result["seeds"][0] for result in report["categories"].values()]
    (step,) = {result["step"] for result in results}
    assert step == -(-sum(result["train_images"] for result in results) // 4)
    assert len(results[0]["images"]) < sum(len(result["images"]) for result in results)


def test_joined_categories_keep_their_own_foregrounds(miniatures, tfds_data):
    config = mvtec.get_config()
    config.data.update(root=str(miniatures / "mvtec_ad"), category="bottle,carpet", image_size=32)
    config.data.foreground = "threshold"
    joined = unite(chosen_catalogs(config))
    config.data.textures = str(miniatures / "textures")
    foreground = Images().of(config, joined).training.foreground
    bottles = len(joined.parts[0].train)
    assert foreground[bottles:].all()  # carpet is a texture
    assert 0 < foreground[:bottles].mean() < 1
