#!/usr/bin/env python3
"""Finds the detector's constants (user/analytics/detector_parameters.def) on labelled series.

  tune.py --minutes 12 --out found.json             a search; also --evaluations N, --files half-a, --start FILE, --seed N
  tune.py --score found.json                        NAB's three profiles, AIOPS, two-fold; --score shipped
  tune.py --apply found.json                        writes them into detector_parameters.def, three significant digits

Search.  CMA-ES (N. Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772) by the package `cma`, on the unit
cube: a constant's range in detector_parameters.def is linear there, or logarithmic where it begins above 0; weights are
quadratic, so that small ones are near each other and 0 is reached.  --runs R: R searches from the same start, with seeds
of their own, share the time or the looks.

Start.  Without --start from a neutral point that no score was looked at for: the middle of every range on that scale, and
all weights EQUAL_WEIGHT.  With it from the constants of a file.

--climb: in place of that, from the start, moves of 1 to 4 constants by up to CLIMB_STEPS of their ranges, each kept if the
objective falls.  NAB's score jumps from point to point, and what CMA-ES comes to is not the best that is near.  For the
shipped constants only: it has the luck of many looks.

Free constants.  --free few: those of FEW, each of its rows one number, the others at their starting point.  --free all:
each by itself.

Objective, the smaller the better.  NAB on the given files (its 58, or one of the two halves of nab.Corpus.halves), each
profile at its best threshold, against TARGETS: what is missing counts MISSING_COST times, what is beyond BEYOND times.  The
rest is none of NAB's, so it is in the objective of either half:

  AIOPS on slices: of each of the 15 series, the last SLICE rows of the first half, of which the first quarter is seen and
    not scored; F1 at the best threshold, and what it lacks of AIOPS_TARGET costs AIOPS_COST each 1.  Up to version 6 of the
    detector it was the first 22,000 rows of the second half, so that a part of what bench_detect.py scores was fitted to
  false alarms in the clean series of synthetic.py, at each setting: those beyond ALLOWED times the setting cost their
    logarithm, so that a score stays the rate that it says
  crowded.py's short series with many anomalies, both figures: what they lack of CROWDED_TARGET costs CROWDED_COST each 1;
    without them the weights of plain spikes went to nothing, as NAB has few.  With a target of 0.9 and a cost of 50, as the
    searches on halves had, they were given away for single windows of NAB and for AIOPS
  synthetic.py's anomalies that last: what they lack, in nats, of an alert at one false alarm a week, on average, costs
    LASTING_COST each 1; without them the weights of what is off a season did, for the same reason

What none of these depends on, and a search makes anything of, is set by hand: least and most are its value then.

Result.  Of a run, what the last generations were drawn around, not the best single point that was looked at: that one has
had the most luck.  Of several runs that which has the least objective then.  The file says what was asked, how many points
were looked at, and what came out.

What half of NAB can settle.  Standard profile, own half / other half, NAB alone in the objective, from the neutral start
unless said, by the mean of the generations.  First of halves() both ways, of the detector as it was some versions ago.
Another split of the files or another seed moves a figure by 2 to 3:

  all constants free                                       68 / 36 after 512 looks, 70 / 35 after 768; one way only
  all, sums smoothed over neighbouring thresholds          - / 53 after 704
  few free (16 numbers)                                    70 / 63 after 600; other halves 61
    by seeds 1, 2, 3                                       - / 62, 57, 61 after 360
    8 or 14 such numbers; thresholds smoothed              - / 60 to 62
  few, each file begun up to 12 % later, anew each time    - / 63 after 480
  then all from there, with small steps                    73 / 59 after 480 more; 61 after 192
  the 12 that matter most at a shipped point               71 / 64 after 704, but chosen with all files

Over 12 such pairs of searches the mean of the generations had 61.4 on the other half, the best point looked at 60.9.
So freedom beyond FEW is spent on the half it is found on, and looks beyond some 300 bring nothing to the other.

Then estimators that were to vary less, on random_halves() alone; few free unless said, the threshold the own half's best;
+- is the deviation of a half or, where there are 8 splits, of a split's mean.

  four halves (seeds 103, 104), 352 looks a search
    six searches, each by itself                           64 / 58.5
    mean of three (seeds 1, 2, 3)                          65 / 59.4 +- 5.7
    mean of three, each with random weights of the files   63 / 60.3 +- 3.0: by 0.9 more, with an error of 1.6
    mean of these six; 1.3 times as far from neutral       68 / 60.2 +- 5.4; 66 / 60.8
    a Gaussian process through their looks, its top        66 / 58.6; the best point looked at 71 / 57.2
  four halves (seeds 101, 102), larger populations         few 70 / 59.5 after 600 looks, all 72 / 57 after 960
  16 halves (seeds 101 to 108), 2,825 random points around neutral, the same for all
    neutral                                                47 / 44 +- 2
    best point; mean of the best 1 %                       65 / 55; 59 / 51
    top of a process, by its length and what is smoothed   63 to 66 / 58 to 60 +- 3 to 5; held near neutral 64 / 54
    mean of ten tops, files drawn anew for each            63 / 60 +- 3
  the same, 1,774 of the points
    top; mean of six tops, files weighted anew             63 / 56 +- 5; 64 / 58 +- 4
    with a copy of each file at half its rate              60 / 51; 59 / 50: one of the splits at -5
  six halves (seeds 101 to 103), 2,000 of the points
    top; with 320 more looks around it                     64 / 52; 66 / 58
    those with all constants moved                         61 / 52

Smoothing over thresholds, for choosing the threshold, moved the figures of searches and tops by 1.5 at most, more often
down than up.  Other data say nothing of the other half beyond what the own one says: of 450 points with all constants
moved, over the better 180 by the own half, that has a correlation of 0.3 with the other, AIOPS' F1 -0.1, AIOPS scored as
NAB is -0.3, synthetic.py so scored 0.0.  What is best on synthetic.py alone (94) has 41 on all of NAB.

Thus nothing is shown to be better than one search on each half.  There the own halves have 66.5, the others 63.0
and at thresholds of their own 63.8: thresholds are a small part of what is lost, the constants the rest.

That was of a detector with twice as many constants.  It became smaller since, and the same search on each half gave, once
for each version: 61.6 with false alarms in the objective, 62.7 with crowded series too, 58.6 with ten aspects in place of
fourteen, 58.8 with one gate more and neither records of aspects nor evidence that counts little by little.  Of these two:

  58.6: one search of 1,500 looks, random_halves(), 101 and 102     77, 71 / 53, 59; one way each
  58.8: NAB alone in the objective, random_halves() 101 to 104      66 / 61 after 480 looks, 67 / 62 after 640, 70 / 59 after 960
        the same on halves(), 640 looks                             71 / 58.4

Then the profiles of week and cycle, which had summed up what they should have followed, were mended, tails are hardly moved
by what is far out, and anomalies that last are in the objective: 62.0, by the same search on each half, the mean of its three
runs, before votes of single values grew, which the halves' constants did without.

Where did these constants lose on the other half?  By file, most was that levels off the season had the weight of levels off
nothing, and gates that hardly stood in the way.  So SEASON_SHIFT became a number of its own, and gates begin at 0, so that
they are linear.  Three runs of 360 looks each, on each half, own / other half:

  the mean of the three                                       65, 69 / 60.8, 66.4
  the run with the least objective on its half                69, 73 / 66.2, 66.9
  360 small moves (--climb) from there                        73, 75 / 55.4, 60.9; at the other half's own threshold 66.1, 67.5

Runs end in different places, and between them there is nothing.  More looks only fit thresholds to the half.  So Result says
what it does, and runs are short.  Then values that are off what the season expects were told as spikes, crowded.py has two more
kinds, and with all of that one attempt, kept as it is: 68, 71 / 68.7, 65.8.

The shipped constants: those of the version before, with range_near at its least, where the detector is nearly that version,
and --climb from there, all free but those set by hand (852 looks, the better of two).  Before that, with a smaller
CROWDED_COST, some 10,000 looks came to NAB 76.7 / 70.5 / 80.7 and to 0.84 of AIOPS' second halves, 0.83 by the first halves'
threshold, and lost on crowded.py and on made-up hourly series that are in no objective; they are not used.

detector_halves.json, which bench_detect.py takes, is of one attempt at each half, kept whatever it gave:

  tune.py --files half-a --free few --runs 3 --evaluations 1080 --seed 1 --out half-a.json      and half-b

with CROWDED_TARGET 0.9 and CROWDED_COST 50, which were raised after it.

What leaks nevertheless: the detector itself and its ranges are by people who have seen all files; and that few are free, which
these are, how long is searched, and which run is taken was settled with the figures above, thus with those of other halves.
"""
import argparse
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time
import warnings

MISSING = """tune: {} is missing.  Install what benches need, and use that Python:
  python3 -m venv V && V/bin/pip install -r tests/bench/requirements.txt && V/bin/python tests/bench/tune.py ..."""
try:
    import numpy as np
except ImportError:
    sys.exit(MISSING.format("numpy"))

import aiops
import crowded
import labelled
import nab
import synthetic
from tunable import ROOT, Tunable

DEFINITIONS = ROOT / "user/analytics/detector_parameters.def"
TARGETS = {"standard": 75.3, "low_fp": 67.4, "low_fn": 81.0}
MISSING_COST, BEYOND = 6, 0.15
AIOPS_TARGET, AIOPS_COST = 0.93, 80
SLICE = 68_000
CROWDED_REPETITIONS, CROWDED_TARGET, CROWDED_COST = 9, 0.95, 150
LASTING_REPETITIONS, LASTING_COST = (1, 3), 30  # the former: both ways in which a season is wrong
CLEAN_REPETITIONS, ALLOWED, ONE_EVENT = 2, 2, 3  # ONE_EVENT: values in a row that end it, as in anomaly.h
EQUAL_WEIGHT = 0.5
WEIGHT = re.compile(r"weight_[A-Z]|range_weight|roughest_weight")
POPULATION, SIGMA_NEUTRAL, SIGMA_FROM_FILE = 16, 0.25, 0.05
REMEMBERED = 0.85  # of the mean of means, a generation
CLIMB_STEPS = 0.01, 0.03, 0.08

# Rows of constants that are one number.
FEW = (
    ("weight_NOW", "weight_RHYTHM"),
    ("weight_SEASON", "weight_SEASON_LOCAL"),
    ("weight_SHIFT", "weight_DRIFT"), ("weight_SEASON_SHIFT",),
    ("weight_ROUGH", "weight_ROUGHER", "weight_SMOOTHER"),
    ("range_weight",), ("roughest_weight",),
    ("gain_fast",), ("gain_short",), ("gain_slow",),
    ("tail_share", "tail_share_brief"), ("range_factor",), ("gate", "gate_brief"), ("gate_values",), ("gate_values_brief",),
)


def say(text):
    print(text, file=sys.stderr, flush=True)


def evolution_strategy():
    """The class; only a search needs it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses matplotlib, which is not needed here
            import cma
    except ImportError:
        sys.exit(MISSING.format("cma"))
    return cma.CMAEvolutionStrategy


def mirrored(x):
    """What is outside of the cube, in it."""
    return 1 - abs(1 - abs(x) % 2)


class Space:
    """Between constants by name and points of the unit cube, one coordinate for each row of free constants."""

    def __init__(self, tunable, free, start=None):
        self.constants, self.shipped = dict(tunable.constants), tunable.shipped
        self.start = start or self.neutral(tunable)
        movable = [name for name, c in self.constants.items() if c.least < c.most]
        if free == "all":
            self.rows = [(name,) for name in movable]
        else:
            self.rows = [tuple(n for n in movable if n in row) for row in FEW]
        self.origin = np.clip([np.mean([self.encoded(n, self.start[n]) for n in row]) for row in self.rows], 0, 1)

    def neutral(self, tunable):
        return {name: EQUAL_WEIGHT if WEIGHT.match(name) else self.decoded(name, 0.5) if c.least < c.most else self.shipped[name]
                for name, c in self.constants.items()}

    def encoded(self, name, value):
        c = self.constants[name]
        if WEIGHT.match(name):
            return np.sqrt(value / c.most)
        if c.least > 0:
            return np.log(value / c.least) / np.log(c.most / c.least)
        return (value - c.least) / (c.most - c.least)

    def decoded(self, name, x):
        c = self.constants[name]
        x = mirrored(x)
        if WEIGHT.match(name):
            return float(c.most * x * x)
        if c.least > 0:
            return float(c.least * (c.most / c.least) ** x)
        return float(c.least + x * (c.most - c.least))

    def at(self, point):
        return {**self.start, **{n: self.decoded(n, x) for row, x in zip(self.rows, point) for n in row}}


class Data:
    def __init__(self, folder):
        for name in (labelled.NAB, labelled.AIOPS):
            if not labelled.unpack(name, folder):
                sys.exit(f"tune: {labelled.archive(name)} is absent: put it there, or its folder into SLUICE_DATA")
        self.nab = nab.Corpus.load(folder)
        self.fed = {s.name: s.fed() for s in self.nab.series}
        self.aiops = aiops.load(pathlib.Path(folder) / "aiops-dev")

    def files(self, which):
        if which == "all":
            return self.nab
        return self.nab.subset(set(self.nab.halves()[("half-a", "half-b").index(which)]))

    def slices(self):
        def cut(s):
            end = int(np.argmax(s.test))
            rows = slice(max(end - SLICE, 0), end)
            n = end - rows.start
            return aiops.Series(s.name, s.times_ns[rows], np.ascontiguousarray(s.values[rows]), s.labels[rows],
                                np.arange(n) >= n // 4)
        return [cut(s) for s in self.aiops]


class Clean:
    """Series without anomalies."""

    def __init__(self):
        self.series = [synthetic.Maker(kind, r).values()[:2] for kind in synthetic.SERIES for r in range(CLEAN_REPETITIONS)]
        self.weeks = sum((times[-1] - times[0]) / (synthetic.WEEK * synthetic.MINUTE_NS) for times, _ in self.series)

    def events(self, tunable):
        """At each of synthetic.RATES."""
        counts = np.zeros(len(synthetic.RATES))
        for times, values in self.series:
            scores = tunable.scores(times, values)
            density = density_of(times)
            for i, rate in enumerate(synthetic.RATES):
                at = np.flatnonzero(scores >= 1 / (1 + rate / density))
                counts[i] += np.count_nonzero(np.diff(at, prepend=-ONE_EVENT - 1) > ONE_EVENT)
        return counts

    def cost(self, tunable):
        expected = np.array(synthetic.RATES) * self.weeks
        return float(np.maximum(np.log((self.events(tunable) + 0.5) / (ALLOWED * expected + 0.5)), 0).sum())


class Lasting:
    """Series with an anomaly that lasts, of those of synthetic.py with a value every five minutes."""
    ANOMALIES, MISSED = ("level shift", "drift", "variance up", "season"), 6  # the latter: nats that one not seen at all lacks

    def __init__(self):
        self.cases = [self.case(synthetic.Maker(kind, repetition), anomaly)
                      for kind in synthetic.SERIES for anomaly in self.ANOMALIES for repetition in LASTING_REPETITIONS
                      if (anomaly, kind) not in synthetic.NOT_IN]

    @staticmethod
    def case(maker, anomaly):
        times, values, onset_ns, _ = maker.values(anomaly)
        first, end = np.searchsorted(times, (onset_ns, onset_ns + synthetic.tolerance_ns(anomaly, maker.interval) + 1))
        return times[:end], values[:end], first, density_of(times)

    def cost(self, tunable):
        lacks = []
        for times, values, first, density in self.cases:
            score = tunable.scores(times, values)[first:].max()
            rate = (1 - score) / score * density if score > 0 else np.inf
            lacks.append(min(max(np.log(max(rate, 1) / synthetic.TOLD_RATE), 0), self.MISSED))
        return float(np.mean(lacks))


def density_of(times):
    """Values of such a series a week, in 2016: a score is of so many."""
    return synthetic.WEEK * synthetic.MINUTE_NS / float(np.median(np.diff(times))) / 2016


class Objective:
    def __init__(self, tunable, data, which):
        self.tunable, self.fed, self.corpus, self.slices = tunable, data.fed, data.files(which), data.slices()
        self.clean, self.lasting, self.crowded = Clean(), Lasting(), crowded.all_series(CROWDED_REPETITIONS)
        self.looks = 0

    def of(self, constants):
        """Its value, and what it is made of."""
        self.looks += 1
        self.tunable.set(constants)
        best = self.corpus.best({s.name: self.tunable.scores(*self.fed[s.name]) for s in self.corpus.series})
        f1 = aiops.Measure(self.slices, self.tunable.scores_of(self.slices), lambda s: s.test).best().f1
        missing = [target - best[profile].score for profile, target in TARGETS.items()]
        of_crowded = crowded.figures(self.crowded, self.tunable.scores_of(self.crowded))
        false, lacking = self.clean.cost(self.tunable), self.lasting.cost(self.tunable)
        value = (sum(MISSING_COST * m if m > 0 else BEYOND * m for m in missing) + AIOPS_COST * max(AIOPS_TARGET - f1, 0) +
                 CROWDED_COST * sum(max(CROWDED_TARGET - f, 0) for f in of_crowded) + LASTING_COST * lacking + false)
        return value, {**{f"nab_{p}": round(r.score, 2) for p, r in best.items()}, "aiops_f1_slices": round(f1, 4),
                       "crowded_f1": [round(f, 4) for f in of_crowded], "false_alarms": round(false, 2),
                       "lasting": round(lacking, 3)}


# ---------------------------------------------------------------- search

def run_once(space, objective, sigma, seed, over):
    """One run: the mean of its means."""
    strategy = evolution_strategy()(space.origin, sigma, {"popsize": POPULATION, "seed": seed, "verbose": -9})
    middle = np.array(space.origin)
    while not strategy.stop() and not over():
        points = strategy.ask()
        values = [objective.of(space.at(p))[0] for p in points]
        strategy.tell(points, values)
        middle = REMEMBERED * middle + (1 - REMEMBERED) * np.array(strategy.mean)
        if strategy.countiter % 10 == 0:
            say(f"tune: {objective.looks} looks, step {strategy.sigma:.3f}, best of this generation {min(values):.2f}")
    return mirrored(middle)


def as_written(constants):
    """With the digits that apply() writes."""
    return {name: float(f"{x:.3g}") for name, x in constants.items()}


def climb_once(space, objective, seed, over):
    """One run of small moves: where it ends."""
    rng = np.random.default_rng(seed)
    point = np.array(space.origin)
    least, _ = objective.of(as_written(space.at(point)))
    while not over():
        some = rng.choice(len(point), rng.integers(1, 5), replace=False)
        near = point.copy()
        near[some] = np.clip(near[some] + rng.normal(0, rng.choice(CLIMB_STEPS), len(some)), 0, 1)
        value, parts = objective.of(as_written(space.at(near)))
        if value < least:
            least, point = value, near
            say(f"tune: {objective.looks} looks, {value:.2f} {parts}")
    return point


def limit(objective, minutes, evaluations):
    """Whether a run is over: by its number of looks, which is repeatable, or by time."""
    end, last = time.monotonic() + 60 * minutes, objective.looks + (evaluations or 0)
    return (lambda: objective.looks >= last) if evaluations else (lambda: time.monotonic() >= end)


def find(tunable, data, asked):
    space = Space(tunable, asked.free, read(asked.start)["constants"] if asked.start else None)
    objective = Objective(tunable, data, asked.files)
    sigma = asked.sigma or (SIGMA_FROM_FILE if asked.start else SIGMA_NEUTRAL)
    value, parts = objective.of(space.at(space.origin))
    say(f"tune: {len(space.rows)} numbers are free; at the start {value:.2f} {parts}")
    ends = []
    for run in range(asked.runs):
        over = limit(objective, asked.minutes / asked.runs, asked.evaluations and asked.evaluations // asked.runs)
        end = (climb_once(space, objective, asked.seed + run, over) if asked.climb else
               run_once(space, objective, sigma, asked.seed + run, over))
        constants = as_written(space.at(end))
        ends.append((*objective.of(constants), constants))
        say(f"tune: run {run} ended after {objective.looks} looks: {ends[-1][0]:.2f} {ends[-1][1]}")
    value, parts, constants = min(ends, key=lambda e: e[0])
    return {"files": asked.files, "start": asked.start or "neutral", "free": asked.free, "climb": asked.climb,
            "runs": asked.runs, "sigma": sigma, "seed": asked.seed, "evaluations": objective.looks,
            "objective": round(value, 3), **parts, "constants": constants}


# ---------------------------------------------------------------- files

def read(path):
    return json.loads(pathlib.Path(path).read_text())


def apply(constants, path=DEFINITIONS):
    """Writes them in the place of those that are there; least, most and everything that is for people stays."""
    def line(match):
        kind, name, rest = match[1], match[2], match[3]
        of = {"PARAMETER": [name], "ASPECT": [f"weight_{name}"]}[kind]
        new = [f"{constants.pop(n):.3g}" for n in of]
        return f"{kind}({', '.join([name, *new, rest.split(', ', len(of))[-1]])}"

    constants = dict(constants)
    text = re.sub(r"^(PARAMETER|ASPECT)\((\w+), (.*)$", line, path.read_text(), flags=re.MULTILINE)
    if constants:
        raise ValueError(f"{path} has no place for {', '.join(sorted(constants))}")
    path.write_text(text)


def score(tunable, data, constants):
    tunable.set(constants)
    scores = {name: tunable.scores(*fed) for name, fed in data.fed.items()}
    for profile, r in data.nab.best(scores).items():
        print(f"NAB {profile:9} {r.score:6.2f} at {r.threshold:.4f}")
    mean, ways = data.nab.two_fold({"": scores}, data.nab.halves())
    print(f"NAB two-fold, the threshold alone from the other half: {mean:.2f} "
          f"({', '.join(f'{r.score:.2f} at {r.threshold:.4f}' for _, r in ways)})")
    for origin, f in aiops.figures(data.aiops, tunable.scores_of(data.aiops), 0.5).items():
        if origin in ("train", "test"):
            print(f"AIOPS F1 of the second halves, threshold best on {origin}: {f.f1:.4f} "
                  f"(precision {f.precision:.3f}, recall {f.recall:.3f}) at {f.threshold:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--evaluations", type=int, help="looks at the data, in place of minutes")
    parser.add_argument("--files", choices=("all", "half-a", "half-b"), default="all")
    parser.add_argument("--free", choices=("few", "all"), default="few")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--start", metavar="FILE")
    parser.add_argument("--sigma", type=float, help=f"first step in the cube ({SIGMA_NEUTRAL}, with --start {SIGMA_FROM_FILE})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--climb", action="store_true", help="small moves that are kept where they help, in place of CMA-ES")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="search, and write what was found")
    what.add_argument("--score", metavar="FILE", help="of what was found, or `shipped`")
    what.add_argument("--apply", metavar="FILE")
    asked = parser.parse_args()
    if asked.apply:
        apply(read(asked.apply)["constants"])
        return 0
    tunable = Tunable(asked.build)
    with contextlib.ExitStack() as stack:
        data = Data(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-tune-")))
        if asked.score:
            score(tunable, data, tunable.shipped if asked.score == "shipped" else read(asked.score)["constants"])
        else:
            found = find(tunable, data, asked)
            pathlib.Path(asked.out).write_text(json.dumps(found, indent=1) + "\n")
            say(f"tune: {asked.out}: {found['objective']} after {found['evaluations']} looks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
