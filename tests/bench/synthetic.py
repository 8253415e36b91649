#!/usr/bin/env python3
"""Ten kinds of anomaly in six kinds of series, with known truth: how many are found and how many false alarms a week.

Series, one value each minute for four weeks, or every five minutes for eight, in turn:

  noise      100 + white noise
  wandering  100 + a first-order autoregression: each deviation keeps 98 % of the one before
  daily      a day's curve of two harmonics, ten times the noise
  weekly     the same, half as high on two of seven days
  counts     Poisson, four a value on average
  coarse     a slow daily curve of three degrees in steps of 0.5, with noise of a quarter of a step

"noise" below is the deviation of one value from what was to be expected just before it, "spread" that of the whole series
around its season (wandering: five times its noise; elsewhere the same).  In the last third of a series, at a random
time, one of:

  spike          one value, 8 noises up (coarse: 4 steps)
  dip            the same down
  level shift    5 spreads up or down (coarse: 3 steps), to the end
  drift          8 spreads over one day (coarse: 4 steps), then stays there
  variance up    the noise is four times as large for a day
  variance down  the noise is a tenth for a day
  rhythm         values come four times less often for a day, or (in two of four repetitions) twice as often
  season         the day's curve comes six hours late, or (in two of four) stays at its lowest, for a day; without a jump
  flatline       the last value again and again for a day
  silence        no values for a day

An anomaly counts as found when an alert is raised from its onset to its tolerance (LATEST, in intervals of the series, or
hours) at a time when the same series without the anomaly raises none: at ten false alarms a week one would often fall into
a day.  Where an anomaly of a kind cannot be told from the series as it is (a season that there is none of; fewer than
none; less noise than a step of rounding), the table says "-".  False alarms are counted in series without anomaly, and
separately ("after") from two days after the anomaly's end to the series' end.

What is found is told rightly when an alert of its onset to its end has the kind TOLD_AS, in the end.

Alerts are those of anomaly.h: one lasting event is one alert.  Seed of a series: SEED, its kind, the repetition; so all
anomalies of a repetition are put into the same series.
"""
import argparse
import pathlib
import sys

import numpy as np

from detect_core import KINDS, Core

SEED = 20
REPETITIONS = 12
RATES = (0.01, 0.1, 1, 10)
MINUTE_NS, DAY, WEEK = 60_000_000_000, 1440, 7 * 1440  # minutes
START_NS = 1_704_067_200_000_000_000  # a Monday, 00:00 UTC
SERIES = ("noise", "wandering", "daily", "weekly", "counts", "coarse")
ANOMALIES = ("spike", "dip", "level shift", "drift", "variance up", "variance down", "rhythm", "season", "flatline", "silence")
# To be found within so many intervals (i) or hours (h) of its onset.
LATEST = {"spike": (1, "i"), "dip": (1, "i"), "level shift": (30, "i"), "drift": (36, "h"), "variance up": (60, "i"),
          "variance down": (24, "h"), "rhythm": (30, "i"), "season": (24, "h"), "flatline": (24, "h"), "silence": (30, "i")}
TOLD_AS = {"dip": "spike", "variance up": "variance", "variance down": "variance", "season": "seasonal", "level shift": "level-shift"}
TOLD_RATE = 1
NOT_IN = {("season", "noise"), ("season", "wandering"), ("season", "counts"), ("dip", "counts"), ("variance down", "counts"),
          ("variance down", "coarse"), ("flatline", "coarse")}
STEP = 0.5  # of coarse


def autoregression(noise, keep):
    """y[i] = keep * y[i - 1] + noise[i], in blocks: within one as a convolution, which keep ** 512 cuts off."""
    weights = keep ** np.arange(512)
    return np.convolve(noise, weights)[:len(noise)]


def curve_of_day(angle, second):
    """Two harmonics; second: the height of the second one."""
    return np.sin(angle) + second * np.sin(2 * angle + 1)


def with_weekends(minutes, curve):
    """Half as high on two of seven days."""
    return np.where(minutes % WEEK >= 5 * DAY, curve / 2, curve)


class Maker:
    """One series of minutes and what it is made of; values(anomaly) puts it together."""

    def __init__(self, kind, repetition):
        self.kind, self.repetition = kind, repetition
        rng = np.random.default_rng([SEED, SERIES.index(kind), repetition])
        self.interval = 5 if repetition % 2 else 1
        self.n = (8 if repetition % 2 else 4) * WEEK // self.interval
        self.minutes = np.arange(self.n) * self.interval
        self.noise = rng.standard_normal(self.n)
        self.chance = rng.random(self.n)
        self.phase = rng.integers(DAY)
        self.second = rng.uniform(0.2, 0.6)
        self.onset = int(rng.uniform(2 / 3, 0.9) * self.n)
        self.up = 1 if rng.random() < 0.5 else -1

    @property
    def spread(self):
        return {"wandering": 1 / np.sqrt(1 - 0.98 ** 2), "coarse": 3 * STEP / 5, "counts": 2}.get(self.kind, 1)

    @property
    def jump(self):
        return {"coarse": 4 * STEP, "counts": 16}.get(self.kind, 8)

    def season(self, minutes):
        angle = 2 * np.pi * (minutes + self.phase) / DAY
        if self.kind == "coarse":
            return 1.5 * np.sin(angle)
        if self.kind not in ("daily", "weekly"):
            return np.zeros(len(minutes))
        curve = 5 * curve_of_day(angle, self.second)
        return with_weekends(minutes, curve) if self.kind == "weekly" else curve

    def day_from(self, onset):
        return slice(onset, onset + DAY // self.interval)

    def wrong_season(self):
        """The season with a day of it late or missing, and where that begins: where both are the same, so without a jump."""
        season = self.season(self.minutes)
        day = self.day_from(self.onset)
        if self.repetition % 4 < 2:
            other = self.season(self.minutes - 360)
            onset = self.onset + int(np.argmin(np.abs(season[day] - other[day])))
        else:
            onset = self.onset + int(np.argmin(season[day]))
            other = np.full(self.n, season[onset])
        day = self.day_from(onset)
        season[day] = other[day]
        return season, onset

    def values(self, anomaly=None):
        """Times in ns, values, and the anomaly's onset and end in ns (None without one)."""
        noise, lasting, season, onset = self.noise.copy(), np.zeros(self.n), self.season(self.minutes), self.onset
        if anomaly == "season":
            season, onset = self.wrong_season()
        during = self.day_from(onset)
        if anomaly == "level shift":
            lasting[onset:] = self.up * 5 * self.spread
        elif anomaly == "drift":
            lasting[onset:] = self.up * 8 * self.spread * np.minimum(np.arange(self.n - onset) * self.interval / DAY, 1)
        elif anomaly in ("variance up", "variance down"):
            noise[during] *= 4 if anomaly == "variance up" else 0.1
        values = self.together(noise, lasting, season)
        if anomaly == "variance up" and self.kind == "counts":
            # Four times the deviation around the same mean, as far as there is room below it.
            values[during] = np.maximum(4 + 4 * (values[during] - 4), 0)
        elif anomaly in ("spike", "dip"):
            values[onset] += self.jump if anomaly == "spike" else -self.jump
        elif anomaly == "flatline":
            values[during] = values[onset - 1]
        return self.timed(values, anomaly, during)

    def together(self, noise, lasting, season):
        if self.kind == "counts":
            return self.poisson(np.maximum(4 + lasting, 0.5))
        if self.kind == "coarse":
            return 20 + STEP * np.round((season + STEP / 4 * noise + lasting) / STEP)
        return 100 + season + lasting + (autoregression(noise, 0.98) if self.kind == "wandering" else noise)

    def poisson(self, mean):
        """By its distribution function, so that an anomaly leaves the other values as they are."""
        p = np.exp(-mean)
        below, values = p.copy(), np.zeros(self.n)
        for k in range(1, 60):
            values += self.chance > below
            p = p * mean / k
            below += p
        return values

    def timed(self, values, anomaly, during):
        times = START_NS + self.minutes * MINUTE_NS
        start_ns = end_ns = int(times[during.start])
        if anomaly not in ("spike", "dip"):
            end_ns += DAY * MINUTE_NS
        keep = np.ones(self.n, dtype=bool)
        if anomaly == "silence":
            keep[during] = False
        elif anomaly == "rhythm" and self.repetition % 4 < 2:
            keep[during] = np.arange(during.stop - during.start) % 4 == 0
        elif anomaly == "rhythm":
            # What comes between is the mean of its neighbours and noise of its own size.
            rows = np.arange(during.start, during.stop)
            between = (values[rows] + values[rows + 1]) / 2 if self.kind not in ("counts", "coarse") else values[rows]
            times = np.insert(times, rows + 1, times[rows] + self.interval * MINUTE_NS // 2)
            values = np.insert(values, rows + 1, between)
            keep = np.ones(len(values), dtype=bool)
        return times[keep], values[keep], *((start_ns, end_ns) if anomaly else (None, None))


def tolerance_ns(anomaly, interval):
    n, unit = LATEST[anomaly]
    return n * (interval if unit == "i" else 60) * MINUTE_NS


def measure(core, repetitions=REPETITIONS):
    """{(series, anomaly): [share found at each rate]}; {series: [false alarms a week at each rate]}; the same after;
    {(series, anomaly): share of those found at TOLD_RATE that are told rightly}."""
    found, told = {}, {}
    false, after = ({kind: np.zeros((2, len(RATES))) for kind in SERIES} for _ in range(2))
    for kind in SERIES:
        for repetition in range(repetitions):
            maker = Maker(kind, repetition)
            anomalies = [a for a in ANOMALIES if (a, kind) not in NOT_IN]
            made = [maker.values(a) for a in [None] + anomalies]
            alerts = core.alerts([(times, values) for times, values, _, _ in made], RATES)
            times, clean = made[0][0], [at for at, _ in alerts[0]]
            false[kind] += [[len(at) for at in clean], [(times[-1] - times[0]) / (WEEK * MINUTE_NS)] * len(RATES)]
            for anomaly, (times, _, onset_ns, end_ns), of_rates in zip(anomalies, made[1:], alerts[1:]):
                for i, (at, told_kinds) in enumerate(of_rates):
                    timely = at[(at >= onset_ns) & (at <= onset_ns + tolerance_ns(anomaly, maker.interval))]
                    hit = len(np.setdiff1d(timely, clean[i])) > 0
                    found.setdefault((kind, anomaly), np.zeros((2, len(RATES))))[:, i] += hit, 1
                    if hit and RATES[i] == TOLD_RATE:
                        until_ns = max(end_ns, onset_ns + tolerance_ns(anomaly, maker.interval))
                        during = (at >= onset_ns) & (at <= until_ns) & ~np.isin(at, clean[i])
                        right = KINDS.index(TOLD_AS.get(anomaly, anomaly)) in told_kinds[during]
                        told.setdefault((kind, anomaly), []).append(right)
                    from_ns = end_ns + 2 * DAY * MINUTE_NS
                    after[kind][:, i] += (at > from_ns).sum(), max(times[-1] - from_ns, 0) / (WEEK * MINUTE_NS)
    return ({k: v[0] / v[1] for k, v in found.items()}, {k: v[0] / v[1] for k, v in false.items()},
            {k: v[0] / v[1] for k, v in after.items()}, {k: np.mean(v) for k, v in told.items()})


def table(found, false, after, told):
    """Markdown; each cell has the figures of all settings."""
    lines = [f"Found, of 100, with the setting at {', '.join(f'{r:g}' for r in RATES)} false alarms a week:", "",
             "| | " + " | ".join(SERIES) + " |", "|---|" + "---|" * len(SERIES)]
    for anomaly in ANOMALIES:
        cells = [" ".join(f"{100 * x:.0f}" for x in found[kind, anomaly]) if (kind, anomaly) in found else "-" for kind in SERIES]
        lines.append(f"| {anomaly} | " + " | ".join(cells) + " |")
    for name, figures in (("false alarms a week", false), ("the same, after", after)):
        lines.append(f"| {name} | " + " | ".join(" ".join(f"{x:.2g}" for x in figures[kind]) for kind in SERIES) + " |")
    lines += ["", f"Told as what they are, of 100 found at {TOLD_RATE:g}:", "", lines[2], lines[3]]
    for anomaly in ANOMALIES:
        cells = [f"{100 * told[kind, anomaly]:.0f}" if (kind, anomaly) in told else "-" for kind in SERIES]
        lines.append(f"| {anomaly} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(root / "build"))
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    print(table(*measure(Core(arguments.build), arguments.repetitions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
