"""Batches for training: a function of (seed, step), computed ahead by tf.data."""

import zlib
from collections.abc import Callable, Collection, Iterator

import numpy as np

from data.augment import augment
from data.images import TrainingImages
from data.options import Augmentation, SynthesisOptions
from data.synthesis import synthesize
from data.tf import tf

_AUGMENTATION = zlib.crc32(b"augmentation")  # folded into the seed of a sample: its own stream


def training_batches(
    images: TrainingImages,
    *,
    batch_size: int,
    synthesize_every: int,
    options: SynthesisOptions,
    seed: int,
    first_step: int,
    last_step: int,
    process_index: int = 0,
    process_count: int = 1,
    augmentations: Collection[Augmentation] = (),
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches of steps ``first_step`` to ``last_step`` − 1.

    Every image occurs exactly once an epoch, in an order shuffled anew each epoch; a batch may
    reach into the next epoch. All draws are functions of (seed, epoch, index), so a batch is the
    same whether training was interrupted before, and whatever the number of processes.

    Args:
      images: the images to draw from.
      batch_size: images a step, over all processes.
      synthesize_every: the last of every so many samples is synthesised (1: all, 2: half);
        0 synthesises nothing.
      options: how anomalies are drawn.
      seed: the run's seed.
      first_step, last_step: which steps.
      process_index, process_count: which share of each batch.
      augmentations: of ``normal``, before the synthesis.

    Yields:
      'normal' (b, height, width, 3) uint8, 'index' (b,) int64, which of the images these are, and,
      unless ``synthesize_every`` is 0, 'synthetic' (b / synthesize_every, height, width, 3) uint8
      and 'mask' (b / synthesize_every, height, width) of the foreground's dtype: the synthesised
      counterparts of normal[synthesize_every − 1 :: synthesize_every].
    """
    group = max(1, synthesize_every)
    local_groups = batch_size // group // process_count
    draw = sample_function(images, options=options, seed=seed, augmentations=augmentations)

    def make_group(local_index: tf.Tensor) -> dict[str, tf.Tensor]:
        step, within = local_index // local_groups, local_index % local_groups
        index = (step * process_count + process_index) * local_groups + within
        samples = [
            draw(index * group + offset, synthesized=synthesize_every and offset == group - 1)
            for offset in range(group)
        ]
        batch = {
            name: tf.stack([sample[name] for sample in samples]) for name in ("normal", "index")
        }
        if synthesize_every:
            batch |= {name: samples[-1][name] for name in ("synthetic", "mask")}
        return batch

    def merge_groups(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        count = local_groups * group
        return batch | {
            name: tf.reshape(batch[name], (count, *batch[name].shape[2:]))
            for name in ("normal", "index")
        }

    dataset = (
        tf.data.Dataset.range(first_step * local_groups, last_step * local_groups)
        .map(make_group, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(local_groups, drop_remainder=True)
        .map(merge_groups)
        .prefetch(2)
    )
    return dataset.as_numpy_iterator()


def synthesized_samples(
    images: TrainingImages,
    *,
    synthesize_every: int,
    options: SynthesisOptions,
    seed: int,
    augmentations: Collection[Augmentation] = (),
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the synthesised samples of training one by one, with what they were made of.

    Args:
      images, synthesize_every, options, seed, augmentations: as for ``training_batches``.

    Yields:
      What the function that ``sample_function`` returns gives, without end.
    """
    draw = sample_function(images, options=options, seed=seed, augmentations=augmentations)
    positions = tf.data.Dataset.counter(synthesize_every - 1, synthesize_every)
    return positions.map(lambda p: draw(p, synthesized=True)).as_numpy_iterator()


def sample_function(
    images: TrainingImages,
    *,
    options: SynthesisOptions,
    seed: int,
    augmentations: Collection[Augmentation] = (),
) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the function from a position in the stream of samples to the sample there.

    Args:
      images: the images to draw from.
      options: how anomalies are drawn.
      seed: the run's seed.
      augmentations: how every image is changed, with its foreground, before the synthesis; which
        ones has no influence on any other draw.

    Returns:
      A function of ``position`` (int64 scalar) and ``synthesized`` (bool) to 'normal', 'index'
      (int64 scalar: which of ``images.normal``) and, if synthesised, 'synthetic', 'texture',
      (height, width, 3) uint8, 'foreground', 'first', 'second', 'mask', (height, width) bool, and
      'opacity', float32. What is not used costs nothing inside a ``tf.function``.
    """
    normal = tf.constant(images.normal)
    textures = None if images.textures is None else tf.constant(images.textures)
    foreground = None if images.foreground is None else tf.constant(images.foreground)
    everything = tf.ones(images.normal.shape[1:3], tf.bool)

    def draw(position: tf.Tensor, *, synthesized: bool) -> dict[str, tf.Tensor]:
        index = shuffled_index(position, len(images.normal), seed)
        image, inside = normal[index], everything if foreground is None else foreground[index]
        sample_seed = tf.stack([tf.constant(seed, tf.int64), position])
        if augmentations:
            seed_augmentation = tf.random.fold_in(sample_seed, tf.constant(_AUGMENTATION, tf.int64))
            image, inside = augment(image, inside, seed_augmentation, augmentations)
        sample = {"normal": image, "index": index}
        if not synthesized:
            return sample
        seed_texture, seed_anomaly = tf.unstack(tf.random.split(sample_seed, 2))
        texture = tf.random.stateless_uniform([], seed_texture, 0, textures.shape[0], tf.int32)
        sample["texture"] = textures[texture]
        sample["foreground"] = inside
        anomaly = synthesize(
            sample["normal"], sample["texture"], sample["foreground"], seed_anomaly, options
        )
        return sample | {
            "synthetic": anomaly.image,
            "opacity": anomaly.opacity,
            **anomaly.masks._asdict(),
        }

    return draw


def shuffled_index(position: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Which image lies at a position of the endless stream of shuffled epochs.

    Args:
      position: int64 scalar, counted from the beginning of training.
      count: number of images.
      seed: the run's seed.

    Returns:
      int64 scalar in [0, count); each epoch of ``count`` positions is a permutation.
    """
    epoch_seed = tf.stack([tf.constant(seed, tf.int64), position // count])
    return tf.random.experimental.index_shuffle(position % count, epoch_seed, count - 1)
