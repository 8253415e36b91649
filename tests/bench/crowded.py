#!/usr/bin/env python3
"""Short series with many anomalies, as people label them: a few weeks of one machine, or a day of one a minute, in which
something happens every few dozen values.  How many are told apart from the rest, against what a plain z-score does.

Series, LENGTH values each minute, five minutes or hour in turn; between them, as in synthetic.py, "noise" is the deviation of
a value from what was to be expected:

  noise      white
  heavy      Student's t of four degrees of freedom, as wide
  wandering  a first-order autoregression: each deviation keeps 90 % of the one before
  daily      a day's curve of two harmonics, four times the noise; a week's weekends half as high
  counts     Poisson, six a value on average
  errors     a share: mostly nearly 0, log-normal
  seasons    a value each hour: half a day's, a day's and a week's wave, each of 2 to 10 times the noise, and a trend
  waves      one of 20 to 200 values, of 5 to 30 times the noise, and a trend

In each, from EARLIEST on, 3 to 20 anomalies, one after the other with 10 values or more between: in two of three of 1 to 3 values,
in one of 4 to 20, up (in half of the series now and then down) by 5 to 20 noises, each value of it by as much and a tenth less or
more.

Measure, as aiops.py's: an anomaly is found when there is a detection in its first 8 values, and counts by its values; F1 at the
best threshold of all series together, and the mean of each series' own best F1.  Alerts, at each setting of false alarms a week:
share of the anomalies that are told in as many values, share of the alerts that are of an anomaly.

The z-score: the distance from an exponentially weighted mean in exponentially weighted mean deviations, plain averages at first.
"""
import argparse
import pathlib
import sys

import numpy as np

import aiops
from detect_core import Core
from synthetic import DAY, MINUTE_NS, RATES, START_NS, autoregression, curve_of_day, with_weekends

SEED = 21
REPETITIONS = 12
SERIES = ("noise", "heavy", "wandering", "daily", "counts", "errors", "seasons", "waves")
INTERVALS = (1, 5, 60)  # minutes
HOURLY = ("seasons",)
TREND = 0.01  # noises a value, up or down, at most
LENGTH, EARLIEST = (600, 1500), 100  # values
Z_GAIN, Z_FIRST = 0.01, 20  # the latter: values before it says anything


def noise_and_around(kind, rng, minutes, phase):
    """Noise, and what it is around."""
    n = len(minutes)
    if kind == "heavy":
        return rng.standard_t(4, n) / np.sqrt(2), np.zeros(n)
    if kind == "wandering":
        return autoregression(rng.standard_normal(n), 0.9), np.zeros(n)
    if kind == "daily":
        curve = 4 * curve_of_day(2 * np.pi * (minutes + phase) / DAY, 0.4)
        return rng.standard_normal(n), with_weekends(minutes, curve)
    if kind == "counts":
        return (rng.poisson(6, n) - 6) / np.sqrt(6), np.zeros(n)
    if kind == "errors":
        return rng.lognormal(0, 0.5, n), np.zeros(n)
    if kind == "seasons":
        waves = (rng.uniform(2, 10) * np.sin(2 * np.pi * minutes / period + rng.uniform(0, 2 * np.pi))
                 for period in (DAY / 2, DAY, 7 * DAY))
        return rng.standard_normal(n), sum(waves) + trend(rng, n)
    if kind == "waves":
        wave = rng.uniform(5, 30) * np.sin(2 * np.pi * (np.arange(n) / rng.uniform(20, 200) + rng.random()))
        return rng.standard_normal(n), wave + trend(rng, n)
    return rng.standard_normal(n), np.zeros(n)


def trend(rng, n):
    return rng.uniform(-TREND, TREND) * np.arange(n)


def anomalies(rng, n):
    """(first row, row behind the last), in order."""
    at, result = EARLIEST, []
    wanted = int(rng.integers(3, 21))
    for _ in range(wanted):
        at += 10 + int(rng.exponential((n - EARLIEST) / wanted))
        length = int(rng.integers(1, 4)) if rng.random() < 2 / 3 else int(rng.integers(4, 21))
        if at + length >= n:
            break
        result.append((at, at + length))
        at += length
    return result


def make(kind, repetition):
    rng = np.random.default_rng([SEED, SERIES.index(kind), repetition])
    interval = 60 if kind in HOURLY else INTERVALS[repetition % len(INTERVALS)]
    n = int(rng.integers(*LENGTH))
    minutes = np.arange(n) * interval
    noise, around = noise_and_around(kind, rng, minutes, int(rng.integers(DAY)))
    labels = np.zeros(n, dtype=bool)
    downs = kind not in ("counts", "errors") and rng.random() < 0.5
    for first, end in anomalies(rng, n):
        size = rng.uniform(5, 20) * (-1 if downs and rng.random() < 0.5 else 1)
        noise[first:end] += size * rng.uniform(0.9, 1.1, end - first)
        labels[first:end] = True
    values = 10 + noise + around
    if kind == "counts":
        values = np.round(6 + np.sqrt(6) * noise)
    return aiops.Series(f"{kind} {repetition}", START_NS + minutes * MINUTE_NS, values, labels, np.ones(n, dtype=bool))


def all_series(repetitions=REPETITIONS):
    return [make(kind, r) for kind in SERIES for r in range(repetitions)]


def z_scores(values):
    mean, deviation, result = values[0], 0.0, np.zeros(len(values))
    for i, value in enumerate(values[1:], 1):
        off = abs(value - mean)
        result[i] = off / deviation if i > Z_FIRST and deviation > 0 else 0
        g = max(Z_GAIN, 1 / (i + 1))
        deviation += g * (off - deviation)
        mean += g * (value - mean)
    return result


def figures(series, scores):
    """F1 of all at one threshold, and the mean of each one's own."""
    def best(some):
        return aiops.Measure(some, scores, lambda s: s.test).best().f1
    return best(series), float(np.mean([best([s]) for s in series]))


def alerts_of(series, raised):
    """Share of the anomalies that are told in time, share of the alerts that are of one."""
    found = there = right = alerts = 0
    for s, at in zip(series, raised):
        of = np.zeros(len(at), dtype=bool)
        for first, end in aiops.segments(s.labels):
            found += np.any((at >= s.times_ns[first]) & (at <= s.times_ns[min(end - 1, first + aiops.DELAY)]))
            of |= (at >= s.times_ns[first]) & (at <= s.times_ns[end - 1])
            there += 1
        right += of.sum()
        alerts += len(at)
    return found / there, right / max(alerts, 1)


def measure(core, repetitions=REPETITIONS):
    """{kind, or "all": (the detector's figures, the z-score's, [alerts_of at each of RATES])}."""
    series = all_series(repetitions)
    fed = [(s.times_ns, s.values) for s in series]
    detector = {s.name: x for s, (x, _) in zip(series, core.scores(fed))}
    z = {s.name: z_scores(s.values) for s in series}
    raised = {s.name: of_rates for s, of_rates in zip(series, core.alerts(fed, RATES))}
    result = {}
    for kind in (*SERIES, "all"):
        some = [s for s in series if kind in ("all", s.name.split()[0])]
        alerts = [alerts_of(some, [raised[s.name][i][0] for s in some]) for i in range(len(RATES))]
        result[kind] = figures(some, detector), figures(some, z), alerts
    return result


def table(measured):
    rates = [f"at {rate:g} a week" for rate in RATES]
    lines = [f"| | F1 | z-score's | own F1 | z-score's | {' | '.join(rates)} |", "|---|---|---|---|---|" + "---|" * len(rates)]
    for kind, (detector, z, alerts) in measured.items():
        cells = [detector[0], z[0], detector[1], z[1]]
        lines.append(f"| {kind} | " + " | ".join(f"{x:.2f}" for x in cells) + " | " +
                     " | ".join(f"{100 * found:.0f}, {100 * right:.0f}" for found, right in alerts) + " |")
    return "\n".join(lines)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(root / "build"))
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    print(table(measure(Core(arguments.build), arguments.repetitions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
