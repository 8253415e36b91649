"""tests/bench/synthetic.py: what it says about an anomaly is so in the series it makes."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
np = pytest.importorskip("numpy")
import synthetic  # noqa: E402

MADE = [(kind, repetition) for kind in synthetic.SERIES for repetition in (0, 1, 2, 3)]


def makers():
    return [synthetic.Maker(kind, repetition) for kind, repetition in MADE]


def anomalies_in(kind):
    return [a for a in synthetic.ANOMALIES if (a, kind) not in synthetic.NOT_IN]


@pytest.mark.parametrize("kind", synthetic.SERIES)
def test_an_anomaly_changes_nothing_before_its_onset_and_something_from_it_on(kind):
    for repetition in range(4):
        maker = synthetic.Maker(kind, repetition)
        times, values, _, _ = maker.values()
        for anomaly in anomalies_in(kind):
            t, v, onset_ns, end_ns = maker.values(anomaly)
            before = t < onset_ns
            assert (t[before] == times[times < onset_ns]).all() and (v[before] == values[times < onset_ns]).all(), anomaly
            assert len(t) != len(times) or (v != values).any(), anomaly
            assert (np.diff(t) > 0).all(), anomaly
            assert 0.6 < (onset_ns - times[0]) / (times[-1] - times[0]) < 0.95 and end_ns < times[-1], anomaly


def test_a_series_is_the_same_each_time():
    for maker, again in zip(makers(), makers()):
        assert (maker.values("spike")[1] == again.values("spike")[1]).all()


@pytest.mark.parametrize("kind", synthetic.SERIES)
def test_a_spike_is_one_value(kind):
    maker = synthetic.Maker(kind, 0)
    assert np.flatnonzero(maker.values("spike")[1] != maker.values()[1]).tolist() == [maker.onset]


def test_sizes_are_as_written():
    day = synthetic.DAY
    maker = synthetic.Maker("noise", 0)
    clean = maker.values()[1]
    assert clean.std() == pytest.approx(1, abs=0.02)
    during = slice(maker.onset, maker.onset + day)
    assert (maker.values("level shift")[1] - clean)[maker.onset:] == pytest.approx(5 * maker.up)
    assert (maker.values("drift")[1] - clean)[during.stop:] == pytest.approx(8 * maker.up)
    assert maker.values("variance up")[1][during].std() == pytest.approx(4 * clean[during].std())
    assert maker.values("variance down")[1][during].std() == pytest.approx(clean[during].std() / 10)
    assert len(set(maker.values("flatline")[1][during])) == 1
    # Autoregression at 0.98: deviation 1 / sqrt(1 - 0.98^2) = 5.03, and 0.98 from one value to the next.
    wandering = synthetic.Maker("wandering", 0).values()[1]
    assert wandering.std() == pytest.approx(5.03, rel=0.1)
    assert np.corrcoef(wandering[1:], wandering[:-1])[0, 1] == pytest.approx(0.98, abs=0.005)
    # Poisson: mean and variance are four.
    counts = synthetic.Maker("counts", 0).values()[1]
    assert (counts.mean(), counts.var()) == (pytest.approx(4, abs=0.05), pytest.approx(4, abs=0.15))
    coarse = synthetic.Maker("coarse", 0).values()[1]
    assert (np.diff(coarse) == 0).mean() > 0.7 and (coarse * 2 == np.round(coarse * 2)).all()


def test_silence_and_rhythm_are_in_the_times():
    for repetition in range(4):
        maker = synthetic.Maker("daily", repetition)
        interval = maker.interval * synthetic.MINUTE_NS
        times, _, onset_ns, end_ns = maker.values("silence")
        assert np.diff(times).max() == end_ns - onset_ns + interval
        times, _, onset_ns, end_ns = maker.values("rhythm")
        inside = np.diff(times[(times >= onset_ns) & (times < end_ns)])
        assert set(inside) == {interval * 4 if repetition % 4 < 2 else interval // 2}


def test_a_season_is_wrong_without_a_jump():
    for repetition in range(4):
        maker = synthetic.Maker("daily", repetition)
        season, onset = maker.wrong_season()
        right = maker.season(maker.minutes)
        assert np.abs(season - right).max() > 5
        if repetition >= 2:  # missing: its lowest all day long
            assert season[onset:onset + synthetic.DAY // maker.interval] == pytest.approx(right.min(), abs=0.1)
        # No step between two values that the curve itself does not have (ten minutes of grace for the place of the border).
        assert np.abs(np.diff(season)).max() < 2 * np.abs(np.diff(right)).max()
