import numpy as np
import pytest

from dtsnet_jax.prediction.drift import DEFECTIVE, DriftTest, describe_drift, oddness, usual_of
from dtsnet_jax.prediction.limits import p_values

USUAL, ODD = 1.0, 1e-9  # p-values


def arrivals(seed, count):
    """Mean features of good parts: brightness moves all channels, and each varies by itself."""
    rng = np.random.default_rng(seed)
    brightness = rng.normal(0, 1, (count, 1))
    return (5 + brightness + rng.normal(0, 0.3, (count, 30))).astype(np.float32)


def feed(test, p_values):
    """Whether the alarm was raised after each photograph."""
    return np.array([test.update(p_value) for p_value in p_values])


def feed_rate(test, rate, count, seed=0):
    odd = np.random.default_rng(seed).random(count) < rate
    return feed(test, np.where(odd, ODD, USUAL))


class TestOddness:
    def test_is_what_is_unusual_for_the_training_images_and_not_what_is_far(self):
        usual = usual_of(arrivals(0, 200))
        brighter = usual.mean + 1
        uneven = usual.mean + np.tile([0.5, -0.5], 15)
        mean, far, near = oddness(np.stack([usual.mean, brighter, uneven]), usual)
        assert mean == 0
        assert near > 10 * far > 0

    def test_does_not_depend_on_the_units_of_channels(self):
        train, new, units = arrivals(0, 50), arrivals(1, 20) + 1, np.linspace(1, 4, 30)
        expected = oddness(new, usual_of(train))
        np.testing.assert_allclose(oddness(new * units, usual_of(train * units)), expected, 1e-4)

    def test_of_images_like_those_of_training_is_about_one(self):
        assert np.median(oddness(arrivals(1, 200), usual_of(arrivals(0, 1000)))) == pytest.approx(
            1, rel=0.2
        )

    @pytest.mark.parametrize("value", [0.0, 7.0])
    def test_of_channels_that_never_vary_hides_nothing(self, value):
        def with_dead(features, rounding):
            dead = value + rounding * np.random.default_rng(0).normal(size=(len(features), 3))
            return np.hstack([features, dead])

        usual = usual_of(with_dead(arrivals(0, 50), 0))
        good = oddness(with_dead(arrivals(1, 100), 1e-6), usual)
        changed = oddness(with_dead(arrivals(2, 100) + np.tile([1, -1], 15), 1e-6), usual)
        assert good.max() < 5 < changed.min()

    def test_of_training_images_that_are_all_the_same_is_finite(self):
        train = np.ones((4, 6), np.float32)
        assert np.isfinite(oddness(train + 1, usual_of(train))).all()


@pytest.mark.parametrize("images", [1, 2, 8, 9, 10, 19, 28, 29, 30, 99, 1000])
def test_odd_is_what_exceeds_all_but_a_tenth_of_the_calibration_images(images):
    calibration = np.arange(images, dtype=float)
    limit = calibration[-max(1, (images + 1) // 10)]
    at_limit, beyond = p_values(np.array([limit, limit + 0.5]), calibration)
    test = DriftTest(images)
    test.update(at_limit)
    assert test.since is None
    test.update(beyond)
    assert test.since == 1


@pytest.mark.parametrize("images", [1, 2, 10, 30, 100, 1000])
def test_99_of_100_calibration_sets_keep_to_the_tolerated_rate(images):
    rng = np.random.default_rng(0)
    calibration = np.sort(rng.random((20_000, images), np.float32), axis=1)
    rate = 1 - calibration[:, -max(1, (images + 1) // 10)]  # of uniform scores
    with_defective = DEFECTIVE + (1 - DEFECTIVE) * rate
    kept = (with_defective <= DriftTest(images).tolerated).mean()
    assert kept == pytest.approx(0.99, abs=0.003)


@pytest.mark.parametrize("images", [5, 10, 100, 1000])
def test_at_the_tolerated_rate_false_alarms_are_as_rare_as_promised(images):
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(200):
        test, length = DriftTest(images, run_length=200), 1
        while not test.update(ODD if rng.random() < test.tolerated else USUAL):
            length += 1
        lengths.append(length)
    assert np.mean(lengths) - 3 * np.std(lengths) / np.sqrt(len(lengths)) >= 200


@pytest.mark.parametrize(
    ("images", "rate", "within"),
    [(4, 1, 48), (10, 1, 17), (10, 0.9, 40), (16, 0.9, 30), (30, 0.9, 30), (100, 0.6, 50)],
)
def test_a_change_is_found(images, rate, within):
    found = []
    for seed in range(200):
        test = DriftTest(images)
        feed_rate(test, 1 / (images + 1), 200, seed)
        found.append(feed_rate(test, rate, within, seed + 1000).any())
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("images", [1, 2, 10, 30, 100, 1000])
def test_so_many_odd_photographs_in_a_row_raise_it(images):
    test = DriftTest(images)
    assert feed(test, [ODD] * test.shortest).tolist() == [False] * (test.shortest - 1) + [True]


@pytest.mark.parametrize("images", [1, 2, 10, 30, 100, 1000])
def test_bursts_of_three_do_not_raise_it(images):
    assert not feed(DriftTest(images), ([ODD] * 3 + [USUAL] * 7) * 1000).any()


class TestSince:
    def test_is_the_first_photograph_that_was_odd(self):
        test = DriftTest(30)
        feed(test, [USUAL, ODD, USUAL, USUAL])
        assert test.since is None
        feed(test, [ODD] * 20)
        assert test.since == 4

    def test_goes_with_the_alarm_once_it_is_mended_and_a_new_one_has_its_own(self):
        test = DriftTest(30)
        assert feed(test, [ODD] * 500)[-1]
        mended = feed(test, [USUAL] * 30)
        assert mended[0]
        assert not mended[-1]
        assert test.since is None
        feed(test, [ODD] * 20)
        assert test.alarmed
        assert test.since == 530


class TestPhotographs:
    """From features to the alarm, with one part of 20 defective."""

    @pytest.fixture(params=[10, 100])
    def p_values_of(self, request):
        usual = usual_of(arrivals(0, 64))
        calibration = oddness(arrivals(1, request.param), usual)
        self.images = request.param
        return lambda features: p_values(oddness(features, usual), calibration)

    @staticmethod
    def line(seed, count):
        features = arrivals(seed, count)
        features[::20, :10] += 3  # far beyond what good parts do
        return features

    def test_that_stay_as_they_were_raise_no_alarm(self, p_values_of):
        p = p_values_of(self.line(2, 5000))
        assert (p[::20] == p.min()).all()
        assert not feed(DriftTest(self.images), p).any()

    def test_in_another_light_raise_it_soon_and_tell_since_when(self, p_values_of):
        features = self.line(2, 340)
        features[300:, ::2] += 0.8
        test = DriftTest(self.images)
        alarmed = feed(test, p_values_of(features))
        assert not alarmed[:300].any()
        assert alarmed[-1]
        assert abs(test.since - 300) <= 5


@pytest.mark.parametrize("p_value", [0.0, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p_value):
    with pytest.raises(ValueError, match=f"found {p_value}"):
        DriftTest(10).update(p_value)


def test_without_calibration_images_there_is_no_test():
    with pytest.raises(ValueError, match="found 0"):
        DriftTest(0)


def test_the_sentence_names_the_photograph_and_how_long_ago_it_was():
    assert describe_drift("7.png", 17).endswith("since '7.png' (17 photographs ago)")
