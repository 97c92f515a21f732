"""The training loop."""

from collections.abc import Callable, Sequence
from contextlib import closing

import jax

from dtsnet_jax.devices.mesh import replicate
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.keys import stream
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.checkpoints import Checkpoints, load_state
from dtsnet_jax.training.feature_cache import open_cache, send
from dtsnet_jax.training.interruption import Interruption
from dtsnet_jax.training.profiling import Profile
from dtsnet_jax.training.programs import Programs
from dtsnet_jax.training.progress import Progress
from dtsnet_jax.training.records import read_records
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.training.step import TrainState
from dtsnet_jax.training.watch import BestState, Watch


def train(
    programs: Programs,
    images: CategoryImages,
    run: SeedRun,
    schedule: Schedule,
    *,
    epoch_ends: Sequence[int],
    measure: Callable[[TrainState], dict[str, float]] | None,
) -> None:
    """Trains one student from its newest checkpoint on, or from the beginning.

    A step returns before the devices have computed it, so the next batch is sent meanwhile; its
    loss is looked at a little later. Ctrl-C and SIGTERM save a checkpoint first.

    Args:
      programs: the network.
      images: the category's images.
      run: where checkpoints and records go; all randomness follows from its seed.
      schedule: what happens when.
      epoch_ends: the step that ends each epoch.
      measure: a state's metrics on the test images; None where there are none.

    Raises:
      UserError: a file cannot be used, a loss is not finite, or nothing is learned.
      Interrupted: a signal asked to end, and a checkpoint has been saved.
    """
    first, last = run.trained_step or 0, epoch_ends[-1]
    if first:
        state = load_state(run.checkpoints, first, programs.abstract_state())
    else:
        state = programs.initial_state(run.seed)
    records = [one for one in read_records(run.directory) if one["step"] <= first]
    cache = open_cache(programs, images.training.normal, run, schedule)
    batches = images.batches(
        seed=run.seed,
        batch_size=schedule.batch_size,
        accumulate=schedule.accumulate,
        first_step=first,
        last_step=last,
    )
    measured = schedule.measured_steps(epoch_ends) if measure else {}
    # Placed once, or every step would move it; of a key only the numbers can be.
    numbers = replicate(jax.random.key_data(stream(run.seed, "noise")), programs.teacher.mesh)
    noise = jax.random.wrap_key_data(numbers)
    with (
        Interruption() as interruption,  # until all is on the disk
        Checkpoints(run.checkpoints, keep=schedule.keep_checkpoints) as checkpoints,
        closing(Progress(run, schedule, records, first_step=first, last_step=last)) as progress,
        closing(Profile(run.directory, schedule.profile)) as profile,
    ):
        best = BestState(run, records, first) if schedule.keep_best else None
        watch = Watch(
            run,
            schedule,
            checkpoints,
            progress,
            interruption,
            first_step=first,
            records=records,
            recorded={last, *measured},
        )
        for step, batch in enumerate(batches, start=first + 1):
            with profile.step(step):
                inputs = send(batch, cache, programs.teacher.mesh)
                state, metrics = programs.train_step(state, programs.teacher.arrays, inputs, noise)
                watch.add(step, metrics)
            if profile.ends_with(step):
                watch.settle()
                profile.close()
            if step in measured:
                watch.settle()
                found = measure(state)
                progress.record_metrics(step, measured[step], found)
                if best is not None and best.save_if_better(found, step, state):
                    watch.save(step, state)
                    checkpoints.wait()  # training never resumes before its best state
            watch.save_if_due(step, state, last=step == last)
