"""When training ends early, and when processes ask each other whether to save and to end."""

import itertools
from unittest import mock

import jax
import pytest

from dtsnet_jax.devices import processes
from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training import watch
from dtsnet_jax.training.checkpoints import Checkpoints
from dtsnet_jax.training.interruption import Interruption
from dtsnet_jax.training.progress import Progress
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.training.step import StepMetrics, TrainState
from dtsnet_jax.training.watch import Watch


@pytest.fixture
def asked(monkeypatch):
    """Counts what is asked of two processes, of which both say the same."""
    asking = mock.Mock(side_effect=lambda value: value)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(watch, "agreed", lambda value: value)
    monkeypatch.setattr(watch, "largest", asking)
    return asking


def make_watch(directory, *, log_every, records=(), signal=None):
    """A watch over a training whose checkpoints and records go nowhere."""
    schedule = Schedule(
        batch_size=1,
        accumulate=1,
        learning_rate=0.5,
        log_every=log_every,
        evaluate_every=0,
        checkpoint_minutes=1e9,
        keep_checkpoints=1,
        keep_best=False,
        cache_teacher=False,
    )
    return Watch(
        SeedRun(directory, "parts", 0),
        schedule,
        mock.Mock(spec=Checkpoints),
        mock.Mock(spec=Progress),
        mock.Mock(spec=Interruption, signal=signal),
        first_step=0,
        records=records,
        recorded=(),
    )


def watched(monkeypatch, directory, *, step_seconds, **options):
    """A watch that saves nothing but at the end, while each step takes so long."""
    clock = itertools.count(0, step_seconds)
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    now = [next(clock)]
    made = make_watch(directory, **options)

    def steps():
        for step in itertools.count(1):
            now[0] = next(clock)
            made.save_if_due(step, mock.Mock(spec=TrainState), last=False)
            yield step

    return steps()


@pytest.mark.parametrize(
    ("step_seconds", "log_every", "times"), [(10, 50, 60), (1, 50, 12), (0.01, 20, 3)]
)
def test_processes_ask_every_few_seconds_and_when_they_record(
    step_seconds, log_every, times, asked, monkeypatch, tmp_path
):
    steps = watched(monkeypatch, tmp_path, step_seconds=step_seconds, log_every=log_every)
    for _ in itertools.takewhile(lambda step: step < 60, steps):
        pass
    assert asked.call_count / 2 == pytest.approx(times, abs=1)


def test_a_signal_ends_slow_steps_before_a_scheduler_loses_patience(asked, monkeypatch, tmp_path):
    with pytest.raises(Interrupted):
        next(watched(monkeypatch, tmp_path, step_seconds=10, log_every=50, signal=15))


def test_the_next_question_comes_when_the_first_process_says(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(watch, "agreed", lambda seconds: 7.0)
    steps = watched(monkeypatch, tmp_path, step_seconds=10, log_every=50)
    counts = [asked.call_count for _ in itertools.takewhile(lambda step: step < 9, steps)]
    assert counts == [2] * 7 + [4]


def test_a_signal_that_another_process_got_with_the_last_step_ends_this_one(monkeypatch):
    with Interruption():
        pass
    monkeypatch.setattr(processes, "largest", lambda signal: 15)
    with pytest.raises(Interrupted), Interruption():
        pass


def test_what_one_process_refuses_is_refused_by_all(monkeypatch):
    assert processes.together(lambda: "made") == "made"
    monkeypatch.setattr(processes, "largest", lambda value: True)
    with pytest.raises(UserError, match="another process cannot go on"):
        processes.together(lambda: "made")
    with pytest.raises(UserError, match="no room"):
        processes.together(mock.Mock(side_effect=UserError("no room")))


def settle(directory, losses, records=()):
    """The step at which training ends that has such losses, None where it does not."""
    made = make_watch(directory, log_every=10, records=records)
    for step, loss in enumerate(losses, start=1):
        try:
            made.add(step, StepMetrics(loss, 1.0, 1.0, 1.0, 0.0, 1.0))
            made.settle()
        except UserError as error:
            assert "learns nothing" in str(error) and "lower --config.train.learning_rate" in str(
                error
            )
            return step
    return None


def test_training_whose_loss_does_not_fall_below_where_it_began_ends(tmp_path):
    falling = [3.0 / (1 + 0.01 * step) for step in range(300)]
    assert settle(tmp_path, falling) is None
    assert settle(tmp_path, [3.0] * 300) == 100
    assert settle(tmp_path, falling[:200] + [3.1] * 100) == 230  # most of the last 50, at a record
    assert settle(tmp_path, falling[:200] + [3.1] * 20 + falling[220:]) is None


def test_training_that_is_continued_remembers_where_it_began(tmp_path):
    assert settle(tmp_path, [1.0] + [2.9] * 9 + [2.0] * 290) is None
    records = [{"step": 10, "loss": 1.5}]
    assert settle(tmp_path, [1.0] + [2.9] * 9 + [2.0] * 290, records) == 100
