#!/usr/bin/env python3
"""The scoring of the Numenta Anomaly Benchmark.

Written from A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark",
ICMLA 2015 (arXiv 1510.03336), and from the corpus' own labels/combined_windows.json and config/profiles.json.
tests/system/test_nab_scoring.py holds it against the published results of other detectors.

A detector gives each row a score; a row is a detection when its score is at least the threshold.

- Probation: nothing counts in the first 15 % of a file, 750 rows at most.
- A window of a true anomaly rewards its earliest detection alone:  weight_tp * sigma(y) / sigma(-1), where y runs from
  -1 at the window's first row to -1/n at the last of its n rows, and sigma(y) = 2 / (1 + exp(5 y)) - 1.  Without a
  detection it costs weight_fn.
- Any other detection costs weight_fp * -sigma(y), with y the distance from the last row of the window before in units of
  that window's length (n - 1 rows): little shortly after it, the whole weight beyond y = 3 or with no window before.
- The score of a corpus is the sum over its files; one threshold for all files, for each profile the one with the best
  sum.  It is normalised so that no detection at all gives 0, and each window detected at its first row and nothing
  else gives 100.

All thresholds are tried at once: rows are ordered by score, and each adds its cost, or what it improves in its window, to
a running sum.

As a program:  nab.py --data DIR FOLDER [FOLDER...] prints figures for scores kept as FOLDER/CATEGORY/FILE.csv, in the
column `score` or `anomaly_score`; with several folders also what the two-fold figure is when the best folder is chosen
on one half.
"""
import argparse
import csv
import dataclasses
import json
import pathlib
import random
import sys

import numpy as np

PROBATION_SHARE = 0.15
PROBATION_ROWS_MAX = 750
PROFILES = {"standard": "standard", "low_fp": "reward_low_FP_rate", "low_fn": "reward_low_FN_rate"}


def sigma(y):
    return np.where(y > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(y, 3.0))) - 1)


@dataclasses.dataclass
class Weights:
    tp: float
    fn: float
    fp: float


@dataclasses.dataclass
class Series:
    name: str        # CATEGORY/FILE.csv
    times: np.ndarray
    values: np.ndarray
    windows: list    # (first row, last row), both inside, in order

    @property
    def category(self):
        return self.name.split("/")[0]

    @property
    def probation(self):
        return min(int(PROBATION_SHARE * len(self.times)), PROBATION_ROWS_MAX)

    def fed(self):
        """What a detector is given: times in ns, values."""
        return self.times.astype("datetime64[ns]").astype(np.int64), self.values

    def worth(self):
        """Each row's window (-1: none) and worth: a share of weight_tp in a window, else of weight_fp."""
        rows = np.arange(len(self.times))
        window, worth = np.full(len(rows), -1), np.full(len(rows), -1.0)
        for k, (first, last) in enumerate(self.windows):
            behind = rows > last
            worth[behind] = sigma((rows[behind] - last) / max(last - first, 1))
        for k, (first, last) in enumerate(self.windows):
            inside = slice(first, last + 1)
            window[inside] = k
            worth[inside] = sigma((rows[inside] - last - 1) / (last - first + 1)) / sigma(-1.0)
        return window, worth


@dataclasses.dataclass
class Result:
    threshold: float
    score: float   # normalised
    sum: float


class Corpus:
    """Series laid end to end, with what each row is worth; scores come as {name: array}."""

    def __init__(self, series, weights):
        self.series, self.weights = list(series), weights
        self.windows = sum(len(s.windows) for s in self.series)
        window, worth, counts, before = [], [], [], 0
        for s in self.series:
            of_row, worth_of_row = s.worth()
            window.append(np.where(of_row >= 0, of_row + before, -1))
            worth.append(worth_of_row)
            counts.append(np.arange(len(s.times)) >= s.probation)
            before += len(s.windows)
        self.counted = np.flatnonzero(np.concatenate(counts))
        self.window, self.worth = np.concatenate(window)[self.counted], np.concatenate(worth)[self.counted]
        self.everything = self.of_everything()

    def of_everything(self):
        """When every row is a detection: false detections' worth, the windows' best, and how many of them have a row that counts."""
        inside = self.window >= 0
        best = np.zeros(self.windows)
        np.maximum.at(best, self.window[inside], self.worth[inside])
        return self.worth[~inside].sum(), best.sum(), len(np.unique(self.window[inside]))

    @classmethod
    def load(cls, folder):
        folder = pathlib.Path(folder)
        profiles = json.loads((folder / "config/profiles.json").read_text())
        weights = {ours: Weights(**{k[:2]: w for k, w in profiles[theirs]["CostMatrix"].items() if k[:2] != "tn"})
                   for ours, theirs in PROFILES.items()}
        labels = json.loads((folder / "labels/combined_windows.json").read_text())
        return cls([read_series(folder / "data" / name, name, windows) for name, windows in sorted(labels.items())], weights)

    def subset(self, names):
        return Corpus([s for s in self.series if s.name in names], self.weights)

    def halves(self):
        """The files of each category by name, alternately to one half and the other."""
        place, halves = {}, ([], [])
        for s in sorted(self.series, key=lambda s: s.name):
            place[s.category] = place.get(s.category, -1) + 1
            halves[place[s.category] % 2].append(s.name)
        return halves

    def random_halves(self, seed):
        """As halves(), of each category's files in random order; which half gets the odd one is random too."""
        rng, of_category, halves = random.Random(seed), {}, ([], [])
        for s in self.series:
            of_category.setdefault(s.category, []).append(s.name)
        for names in of_category.values():
            rng.shuffle(names)
            start = rng.randrange(2)
            for i, name in enumerate(names):
                halves[(start + i) % 2].append(name)
        return halves

    def normal(self, total, profile):
        """`total` on the scale where nothing detected is 0 and everything at once is 100."""
        w = self.weights[profile]
        if not self.windows:
            return float("nan")
        return 100 * (total + w.fn * self.windows) / ((w.tp + w.fn) * self.windows)

    def sweep(self, scores):
        """Thresholds, falling from infinity, and for each profile the sum at each of them."""
        score = np.concatenate([np.asarray(scores[s.name], dtype=float) for s in self.series])[self.counted]
        known = score > -np.inf  # not a number is no detection at any threshold
        # Most rows of most detectors share the least score: at it, everything is detected, which needs no sorting.
        last = [self.everything] if len(score) and known.all() else []
        rows = np.flatnonzero(score > score.min() if last else known)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        of_row, window, worth = score[rows], self.window[rows], self.worth[rows]
        gain = np.where(window < 0, worth, 0.0)  # shares of weight_fp
        rise = np.zeros(len(worth))              # of weight_tp
        found = np.zeros(len(worth))             # 1 where a window is detected for the first time
        inside = np.flatnonzero(window >= 0)
        inside = inside[np.argsort(window[inside], kind="stable")]
        for at in np.split(inside, np.flatnonzero(np.diff(window[inside])) + 1):
            if len(at):
                rise[at] = np.diff(np.maximum.accumulate(worth[at]), prepend=0)
                found[at[0]] = 1
        ends = np.flatnonzero(np.diff(of_row, append=-np.inf))
        thresholds = np.concatenate([[np.inf], of_row[ends], [score.min()] * len(last)])
        fp, tp, n = (np.concatenate([[0], np.cumsum(x)[ends], [e[i] for e in last]])
                     for i, x in enumerate((gain, rise, found)))
        return thresholds, {p: w.fp * fp + w.tp * tp - w.fn * (self.windows - n) for p, w in self.weights.items()}

    def best(self, scores):
        """For each profile the threshold with the best sum; the highest of several equals."""
        thresholds, sums = self.sweep(scores)
        at = {p: int(np.argmax(s)) for p, s in sums.items()}
        return {p: Result(float(thresholds[i]), self.normal(float(sums[p][i]), p), float(sums[p][i])) for p, i in at.items()}

    def at(self, scores, threshold, profile):
        thresholds, sums = self.sweep(scores)
        i = int(np.searchsorted(-thresholds, -threshold, side="right")) - 1
        return Result(threshold, self.normal(float(sums[profile][i]), profile), float(sums[profile][i]))

    def two_fold(self, configurations, halves, profile="standard"):
        """Configuration (of {name: scores}) and threshold chosen on one half, the other half scored, both ways.
        Returns the mean and, for each way, (configuration, Result)."""
        ways = []
        for chosen_on, scored_on in (halves, halves[::-1]):
            a, b = self.subset(set(chosen_on)), self.subset(set(scored_on))
            bests = {name: a.best(scores)[profile] for name, scores in configurations.items()}
            name = max(bests, key=lambda n: bests[n].score)
            ways.append((name, b.at(configurations[name], bests[name].threshold, profile)))
        return sum(result.score for _, result in ways) / 2, ways

    def details(self, scores, threshold, profile="standard"):
        """For each file: windows, those found, false detections and the sum."""
        rows = []
        for s in self.series:
            w, (window, worth) = self.weights[profile], s.worth()
            hit = np.flatnonzero(np.asarray(scores[s.name], dtype=float) >= threshold)
            hit = hit[hit >= s.probation]
            found = {int(k): float(worth[hit[window[hit] == k]].max()) for k in np.unique(window[hit]) if k >= 0}
            false = hit[window[hit] < 0]
            total = w.tp * sum(found.values()) + w.fp * float(worth[false].sum()) - w.fn * (len(s.windows) - len(found))
            rows.append({"name": s.name, "category": s.category, "windows": len(s.windows), "found": len(found),
                         "false": len(false), "sum": total})
        return rows


def read_series(path, name, windows):
    with open(path, newline="") as f:
        rows = list(csv.reader(f))[1:]
    times = np.array([row[0] for row in rows], dtype="datetime64[s]")
    bounds = []
    for start, end in sorted(windows):
        # Found by comparing, not by searching: one file's clock goes back once.
        inside = np.flatnonzero((times >= np.datetime64(start)) & (times <= np.datetime64(end)))
        if len(inside):
            bounds.append((int(inside[0]), int(inside[-1])))
    return Series(name, times, np.array([float(row[1]) for row in rows]), bounds)


def read_scores(folder, corpus, prefix=""):
    """{name: scores} from FOLDER/CATEGORY/[prefix]FILE.csv."""
    scores = {}
    for s in corpus.series:
        category, name = s.name.split("/")
        with open(pathlib.Path(folder) / category / (prefix + name), newline="") as f:
            rows = csv.reader(f)
            head = next(rows)
            column = head.index("score" if "score" in head else "anomaly_score")
            scores[s.name] = np.array([float(row[column]) for row in rows])
        if len(scores[s.name]) != len(s.times):
            raise ValueError(f"{folder}/{s.name}: {len(scores[s.name])} scores for {len(s.times)} rows")
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="NAB's files: data/, labels/, config/")
    parser.add_argument("folder", nargs="+", help="scores as CATEGORY/FILE.csv")
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.data)
    configurations = {folder: read_scores(folder, corpus) for folder in arguments.folder}
    for name, scores in configurations.items():
        print(name, *(f"{p} {r.score:.2f} (at {r.threshold:.6g})" for p, r in corpus.best(scores).items()))
    mean, ways = corpus.two_fold(configurations, corpus.halves())
    print(f"two-fold {mean:.2f}:", "; ".join(f"{name} at {r.threshold:.6g}: {r.score:.2f}" for name, r in ways))
    return 0


if __name__ == "__main__":
    sys.exit(main())
