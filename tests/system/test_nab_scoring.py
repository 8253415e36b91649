"""tests/bench/nab.py against figures worked by hand, a direct reading of the paper, and published results.

The last needs a checkout of github.com/numenta/NAB, given by SLUICE_NAB; nothing of it is kept here.
"""
import json
import math
import os
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
np = pytest.importorskip("numpy")
import nab  # noqa: E402

WEIGHTS = {"standard": nab.Weights(tp=1, fn=1, fp=0.11), "low_fp": nab.Weights(tp=1, fn=1, fp=0.22),
           "low_fn": nab.Weights(tp=1, fn=2, fp=0.11)}


def series(rows, *windows, name="some/a.csv"):
    times = np.datetime64("2020-01-01T00:00:00") + 60 * np.arange(rows)
    return nab.Series(name, times, np.zeros(rows), list(windows))


def corpus(rows, *windows):
    return nab.Corpus([series(rows, *windows)], WEIGHTS)


def detections(rows, *at):
    scores = np.zeros(rows)
    scores[list(at)] = 1
    return {"some/a.csv": scores}


def test_sigma_is_the_papers_scaled_sigmoid():
    assert nab.sigma(0) == 0
    assert nab.sigma(-1) == pytest.approx(0.986614298)  # 2 / (1 + e^-5) - 1
    assert nab.sigma(1) == pytest.approx(-0.986614298)
    assert nab.sigma(3.01) == -1


# 100 rows, the first 15 are probation.  The window is rows 40 to 44: n = 5, its length for what comes after is 4.
@pytest.mark.parametrize("at, profile, total", [
    ([], "standard", -1),
    ([], "low_fn", -2),
    ([40], "standard", 1),
    # y = -3/5: sigma = 2 / (1 + e^-3) - 1 = 0.905148; / 0.986614 = 0.917429
    ([42], "standard", 0.917429),
    ([42, 43, 44], "standard", 0.917429),  # the earliest alone
    # The last row, y = -1/5: sigma = 2 / (1 + e^-1) - 1 = 0.462117; / 0.986614 = 0.468387
    ([44], "low_fp", 0.468387),
    # y = 2/4: -sigma = 1 - 2 / (1 + e^2.5) = 0.848284; * 0.11 = 0.093311
    ([40, 46], "standard", 1 - 0.093311),
    ([40, 46], "low_fp", 1 - 2 * 0.093311),
    # y = 12/4 = 3: -sigma = 1 - 2 / (1 + e^15) = 0.99999939; the row after it: 1
    ([40, 56, 57], "standard", 1 - 0.11 * 1.99999939),
    ([40, 20, 39], "standard", 1 - 0.22),  # no window before: the whole weight each
    ([40, 0, 14], "standard", 1),          # probation
    ([40, 15], "standard", 1 - 0.11),
])
def test_examples_worked_by_hand(at, profile, total):
    result = corpus(100, (40, 44)).at(detections(100, *at), 1, profile)
    assert result.sum == pytest.approx(total, abs=2e-6)
    # Nothing detected is 0, everything at once 100: 100 (total + fn) / (tp + fn).
    miss = WEIGHTS[profile].fn
    assert result.score == pytest.approx(100 * (total + miss) / (1 + miss), abs=2e-4)


def test_a_false_detection_is_measured_from_the_window_just_before():
    # Rows 30..34 and 50..59; row 62 is (62 - 59) / 9 = 1/3 behind the second: 1 - 2 / (1 + e^(5/3)) = 0.682262
    result = corpus(100, (30, 34), (50, 59)).at(detections(100, 30, 50, 62), 1, "standard")
    assert result.sum == pytest.approx(2 - 0.11 * 0.682262, abs=1e-6)


def test_probation_ends_after_750_rows():
    assert series(4999).probation == 749  # 749.85
    assert series(100_000).probation == 750


def test_the_best_threshold_is_that_of_the_whole_corpus():
    files = [series(100, (40, 44), name="some/a.csv"), series(100, (40, 44), name="some/b.csv")]
    scores = {"some/a.csv": np.zeros(100), "some/b.csv": np.zeros(100)}
    scores["some/a.csv"][40] = 0.9
    scores["some/b.csv"][[40, 20]] = 0.5, 0.7
    best = nab.Corpus(files, WEIGHTS).best(scores)["standard"]
    # 0.9 finds one of two: 1 - 1 = 0.  0.5 finds both and one false: 2 - 0.11 = 1.89.
    assert best.threshold == 0.5
    assert best.score == pytest.approx(100 * (1.89 + 2) / 4)


def test_a_threshold_between_scores_takes_those_above_it():
    c, scores = corpus(100, (40, 44)), detections(100, 40)
    assert c.at(scores, 0.5, "standard").score == 100
    assert c.at(scores, 1.5, "standard").score == 0


def test_a_detector_that_finds_nothing_scores_nothing():
    c = corpus(100, (40, 44))
    silent = {"some/a.csv": np.full(100, np.nan)}
    assert [r.score for r in c.best(silent).values()] == [0, 0, 0]


def by_the_paper(files, scores, threshold, w):
    """Row by row, in plain arithmetic."""
    total = 0
    for s in files:
        found = {}
        for i in range(min(int(0.15 * len(s.times)), 750), len(s.times)):
            if scores[s.name][i] < threshold:
                continue
            inside = [k for k, (first, last) in enumerate(s.windows) if first <= i <= last]
            before = [(first, last) for first, last in s.windows if last < i]
            if inside:
                first, last = s.windows[inside[0]]
                y = -(last - i + 1) / (last - first + 1)
                found.setdefault(inside[0], (2 / (1 + math.exp(5 * y)) - 1) / (2 / (1 + math.exp(-5)) - 1))
            elif not before:
                total -= w.fp
            else:
                first, last = before[-1]
                y = (i - last) / (last - first)
                total += w.fp * (-1 if y > 3 else 2 / (1 + math.exp(5 * y)) - 1)
        total += w.tp * sum(found.values()) - w.fn * (len(s.windows) - len(found))
    return total


def test_all_thresholds_at_once_agree_with_row_by_row():
    rng = random.Random(4)
    files = [series(400, (100, 130), (200, 260), (300, 310), name="x/a.csv"), series(300, name="x/b.csv"),
             series(350, (60, 90), (349, 349), name="y/c.csv")]
    # Few different scores, so that many rows share one.
    scores = {s.name: np.array([rng.randrange(40) / 40 for _ in s.times]) for s in files}
    c = nab.Corpus(files, WEIGHTS)
    thresholds, sums = c.sweep(scores)
    assert len(thresholds) == 41
    for profile, w in WEIGHTS.items():
        for threshold, total in zip(thresholds, sums[profile]):
            assert total == pytest.approx(by_the_paper(files, scores, threshold, w), abs=1e-9)
            assert sum(row["sum"] for row in c.details(scores, threshold, profile)) == pytest.approx(total, abs=1e-9)


def test_two_fold_chooses_on_one_half_and_scores_the_other():
    files = [series(100, (40, 44), name=f"some/{n}.csv") for n in "abcd"]
    c = nab.Corpus(files, WEIGHTS)
    halves = c.halves()
    assert halves == (["some/a.csv", "some/c.csv"], ["some/b.csv", "some/d.csv"])
    good = {s.name: detections(100, 40)["some/a.csv"] for s in files}
    # Better on the first half only: perfect there, nothing found on the other.
    half = {name: good[name] if name in halves[0] else np.zeros(100) for name in good}
    late = {s.name: detections(100, 42)["some/a.csv"] for s in files}
    assert c.two_fold({"good": good}, halves)[0] == 100
    mean, ways = c.two_fold({"late": late, "half": half}, halves)
    # Chosen on the first: half, which finds nothing in the second: 0.  On the second: late, 100 (0.917429 + 1) / 2.
    assert [name for name, _ in ways] == ["half", "late"]
    assert mean == pytest.approx((0 + 95.871457) / 2, abs=1e-4)


# The threshold published for these is the best there is; for others a search ended at a lower peak (htmjava, numenta,
# numentaTM, expose, random), so those are compared at their published threshold only.
BEST = ("ARTime", "contextOSE", "earthgeckoSkyline", "knncad", "randomCutForest", "relativeEntropy", "skyline", "twitterADVec",
        "windowedGaussian")
AT_THEIRS = BEST + ("htmjava", "numenta", "numentaTM", "expose", "random")


@pytest.fixture(scope="module")
def published():
    if not os.environ.get("SLUICE_NAB"):
        pytest.skip("SLUICE_NAB names no checkout of github.com/numenta/NAB")
    folder = pathlib.Path(os.environ["SLUICE_NAB"])
    figures = json.loads((folder / "results/final_results.json").read_text())
    thresholds = json.loads((folder / "config/thresholds.json").read_text())
    return folder, nab.Corpus.load(folder), figures, thresholds


@pytest.mark.parametrize("detector", AT_THEIRS)
def test_published_scores_give_the_published_figures(published, detector):
    folder, c, figures, thresholds = published
    scores = nab.read_scores(folder / "results" / detector, c, prefix=f"{detector}_")
    best = c.best(scores)
    for profile, theirs in nab.PROFILES.items():
        figure = figures[detector][theirs]
        at_theirs = c.at(scores, thresholds[detector][theirs]["threshold"], profile).score
        print(f"{detector:18} {profile:8} published {figure:6.2f}, here at the same threshold {at_theirs:6.2f}, "
              f"at the best {best[profile].score:6.2f}")
        assert at_theirs == pytest.approx(figure, abs=0.005)
        assert best[profile].score >= figure - 1e-9
        if detector in BEST:
            assert best[profile].score == pytest.approx(figure, abs=0.005)
