import numpy as np
import pytest
from scipy import stats

from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.limits import (
    MINIMUM,
    Limit,
    Limits,
    describe_limits,
    describe_missing,
    find_limit,
    find_limits,
    images_needed,
    p_values,
)

RATES = [0.0001, 0.002, 0.01, 0.03, 0.05, 0.1, 0.29, 0.5, 0.9]


def scores(count, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=count)


class TestPValues:
    def test_count_the_calibration_scores_at_or_above(self):
        calibration = np.array([3.0, 1.0, 2.0, 2.0])
        values = p_values(np.array([[0.0, 1.0, 1.5], [2.0, 3.0, 3.5]]), calibration)
        np.testing.assert_array_equal(values, [[1.0, 1.0, 0.8], [0.8, 0.4, 0.2]])

    def test_of_nan_are_the_smallest(self):
        assert p_values(np.array([np.nan, np.inf]), np.zeros(4)).tolist() == [0.2, 0.2]

    @pytest.mark.parametrize("decimals", [8, 1, 0])
    def test_are_no_more_often_small_than_they_say(self, decimals):
        # Good photographs come in any order: each of these is as likely to be the new one.
        drawn = scores(40).round(decimals)
        values = np.concatenate([p_values(drawn[[i]], np.delete(drawn, i)) for i in range(40)])
        shares = [(values <= rank / 40).mean() for rank in range(1, 41)]
        assert (np.array(shares) <= np.arange(1, 41) / 40).all()
        if len(np.unique(drawn)) == 40:
            np.testing.assert_array_equal(np.sort(values), np.arange(1, 41) / 40)


class TestExactLimits:
    @pytest.mark.parametrize(
        ("rate", "needed"),
        [(0.01, 99), (0.05, 19), (0.1, 9), (0.02, 49), (0.002, 499), (0.03, 33), (0.9, 1)],
    )
    def test_exist_from_the_images_needed_on(self, rate, needed):
        assert images_needed(rate) == needed
        assert find_limit(scores(needed), rate).score == scores(needed).max()
        assert not find_limit(scores(needed), rate).extrapolated
        fewer = find_limit(scores(needed - 1), rate)
        assert fewer is None if needed <= MINIMUM else fewer.extrapolated

    @pytest.mark.parametrize(("rate", "rank"), [(0.29, 29), (0.57, 57), (0.07, 7), (0.075, 7)])
    def test_have_the_rank_that_the_decimal_rate_says(self, rate, rank):
        assert find_limit(np.arange(99.0), rate).score == 99 - rank

    @pytest.mark.parametrize("decimals", [8, 0])
    @pytest.mark.parametrize("images", [19, 99, 500])
    def test_are_exceeded_where_p_values_are_small(self, images, decimals):
        calibration = scores(images).round(decimals)
        new = np.concatenate([scores(500, 1).round(decimals), calibration])
        for rate in RATES:
            limit = find_limit(calibration, rate)
            if not limit.extrapolated:
                np.testing.assert_array_equal(new > limit.score, p_values(new, calibration) <= rate)

    def test_say_between_what_the_true_rate_lies(self):
        drawn = np.random.default_rng(2).uniform(size=(6000, 99))
        limits = [find_limit(row, 0.03) for row in drawn]
        true = 1 - np.array([limit.score for limit in limits])
        assert true.mean() == pytest.approx(0.03, rel=0.02)
        assert limits[0].interval == pytest.approx(np.percentile(true, [5, 95]), rel=0.05)

    def test_of_constant_scores_are_that_score(self):
        assert find_limit(np.full(99, 2.0), 0.01).score == 2.0


class TestExtrapolatedLimits:
    def test_are_marked(self):
        limit = find_limit(scores(60), 0.002)
        assert limit.extrapolated
        assert limit.interval is None
        assert limit.rate == 0.002

    def test_keep_the_rate_where_the_tail_is_exponential(self):
        drawn = np.random.default_rng(3).exponential(size=(10000, 30))
        true = np.exp([-find_limit(row, 0.002).score for row in drawn])
        assert true.mean() == pytest.approx(0.002, rel=0.1)

    @pytest.mark.parametrize("images", [10, 30, 90])
    @pytest.mark.parametrize(
        "distribution",
        [stats.norm(), stats.gamma(2), stats.lognorm(0.5), stats.t(4)],
        ids=["normal", "gamma", "lognormal", "t"],
    )
    def test_do_not_promise_too_little_whatever_the_distribution(self, distribution, images):
        drawn = distribution.rvs((2000, images), random_state=np.random.default_rng(4))
        true = distribution.sf([find_limit(row, 0.01).score for row in drawn])
        assert true.mean() < 1.3 * 0.01

    def test_follow_the_unit_of_the_scores(self):
        limit = find_limit(scores(60), 0.002).score
        assert find_limit(5 * scores(60) + 3, 0.002).score == pytest.approx(5 * limit + 3)

    def test_of_constant_scores_are_that_score(self):
        assert find_limit(np.full(20, 2.0), 0.01).score == 2.0


@pytest.mark.parametrize("images", [10, 30, 60, 500])
@pytest.mark.parametrize("seed", range(5))
def test_smaller_rates_have_no_smaller_limits(images, seed):
    calibration = scores(images, seed)
    calibration[0] += 100 * (seed % 2)  # an outlier far beyond the rest
    # Two of the rates are just beside the smallest that is exact.
    rates = sorted([*RATES, 1 / (images + 0.9), 1 / (images + 1.1)])
    limits = [find_limit(calibration, rate) for rate in rates]
    assert {limit.extrapolated for limit in limits} == {False, True}
    found = [limit.score for limit in limits]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]
    assert min(limit.score for limit in limits if limit.extrapolated) >= calibration.max()


class TestTwoLimits:
    def test_a_score_at_a_limit_is_not_beyond_it(self):
        limits = Limits(Limit(1.0, 0.05, False, (0, 1)), Limit(2.0, 0.01, False, (0, 1)))
        beyond = [np.nextafter(limit.score, np.inf) for limit in limits]
        decisions = [limits.decide(score) for score in (1.0, beyond[0], 2.0, beyond[1])]
        assert decisions == ["OK", "review", "review", "NG"]

    def test_nan_is_never_called_good(self):
        assert find_limits(scores(99), false_alarms=0.01, review=0.1).decide(np.nan) == "NG"

    def test_each_has_its_rate(self):
        limits = find_limits(scores(60), false_alarms=0.002, review=0.05)
        assert limits == (find_limit(scores(60), 0.05), find_limit(scores(60), 0.002))

    def test_no_review_leaves_no_band(self):
        limits = find_limits(scores(99), false_alarms=0.01, review=0)
        assert limits.review == limits.reject
        assert limits.decide(limits.reject.score) == "OK"
        assert limits.decide(limits.reject.score + 1) == "NG"

    def test_too_few_images_have_none(self):
        assert find_limits(scores(MINIMUM - 1), false_alarms=0.01, review=0.5) is None
        assert find_limits(scores(0), false_alarms=0.01, review=0) is None
        assert find_limits(scores(4), false_alarms=0.2, review=0) is not None


class TestErrors:
    @pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
    def test_false_alarms_out_of_range(self, rate):
        with pytest.raises(UserError, match=rf"threshold\.false_alarms is {rate}, expected more"):
            find_limits(scores(99), false_alarms=rate, review=0)

    @pytest.mark.parametrize("rate", [0.005, 1.0, -0.1, float("nan")])
    def test_review_out_of_range(self, rate):
        expected = rf"threshold\.review is {rate}, expected .*threshold\.false_alarms=0\.01"
        with pytest.raises(UserError, match=expected):
            find_limits(scores(99), false_alarms=0.01, review=rate)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("use", [p_values, lambda _, found: find_limit(found, 0.01)])
    def test_calibration_scores_that_are_not_finite(self, use, value):
        with pytest.raises(UserError, match="2 of 5 calibration images are not finite"):
            use(np.zeros(1), np.array([1.0, value, 2.0, value, 3.0]))


class TestLines:
    def test_of_two_exact_limits(self):
        limits = find_limits(np.arange(99.0), false_alarms=0.01, review=0.05)
        assert describe_limits(limits, 99) == [
            "review above 94: 5 % false alarms (90 % certain: between 2.01 % and 9.01 %)",
            "NG above 98: 1 % false alarms (90 % certain: between 0.0518 % and 2.98 %)",
        ]

    def test_of_one_that_is_extrapolated(self):
        limits = find_limits(np.arange(16.0), false_alarms=0.01, review=0)
        # Threshold 11, excesses 1 to 4, (5 / 17 / 0.01) ** (1 / 4) = 2.3288.
        assert describe_limits(limits, 16) == [
            "NG above 24.29: 1 % false alarms, extrapolated from 16 calibration images; "
            "an exact limit needs 99"
        ]

    def test_of_none(self):
        assert describe_missing(7, 0.01) == (
            "no limit: 7 calibration images are too few for 1 % false alarms; "
            "10 are needed to extrapolate one, 99 for an exact one"
        )
        assert describe_missing(7, 0.1).endswith("too few for 10 % false alarms; 9 are needed")
