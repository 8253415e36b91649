#!/usr/bin/env python3
"""From a reading's arrival at the edge to a person's webhook, while the house is half busy.

One gateway, one region, one aggregator on embedded streams, all settings at their defaults but for those that let history
in.  First the fleet sends as fast as it is acknowledged, which says what this machine can do today, and from which the
detectors learn; then at half of that rate, with spikes in devices of their own, spread over the time.  Latency is the
webhook's receipt of the first word minus arrival_ns of the reading that is anomalous, both by this machine's clock.  As
root the fleet sends over a veth with the XDP program, else over the UDP socket on loopback.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

DEVICES, METRICS = 1000, ("humidity", "internal_temperature", "par", "temperature", "tsr", "voltage")
LEARN_S, LOAD_S = 300, 40  # of the readings' time: a reading a second of each device; of the clock
SPIKES, SPIKE_READINGS = 300, 3
REST_S = 120


def emit(case, value, unit, note, name="alert_latency_ms"):
    print(json.dumps({"name": name, "case": case, "value": value, "unit": unit, "note": note}), flush=True)


def write_readings(path, rng, seconds, spikes):
    """spikes: {device number: second in which one begins}."""
    with open(path, "w") as out:
        for s in seconds:
            for d in range(DEVICES):
                values = [round(rng.uniform(19.7, 20.3), 2) for _ in METRICS]
                if d in spikes and 0 <= s - spikes[d] < SPIKE_READINGS:
                    values[3] += 100
                metrics = ",".join(f'"{name}":{value}' for name, value in zip(METRICS, values))
                out.write(f'{{"device_id":"mote-{d}","timestamp_ns":"{s * 1000 + d * 999 // DEVICES}000000","metrics":{{{metrics}}}}}\n')


class House:
    def __init__(self, place, folder, wire, webhook):
        import daemons
        self.place, self.folder, self.wire, self.daemons = place, folder, wire, daemons
        with open(folder / "registry.csv", "w") as out:
            print("device_id,type,place,owner,latitude,longitude", file=out)
            for d in range(DEVICES):
                print(f"mote-{d},hall,p{d},bench,50,4", file=out)
        self.region = daemons.Region(place, "eu", folder / "registry.csv", clock="arrival", regional={"allowed_lateness": "1h"},
                                     more=wire.settings if wire else None)
        self.aggregator = daemons.aggregator(place, [self.region], clock="arrival", alerts={"webhook": [webhook.url]})
        everyone = self.region.gateway, self.region.regional, self.aggregator
        place.init_streams(*everyone)
        place.start(*everyone)

    def folded(self):
        r = self.region.regional.stats()["readings_total"]
        return r["unique"] + r["late"]

    def send(self, path, *more):
        words = [self.daemons.BIN / "sluice", "simulate", "--from", path, "--quiet", "--json", self.folder / "fleet.json", *more,
                 "--to", self.wire.url if self.wire else self.region.coap]
        words = self.wire.command(*words, "--let-pass", self.wire.far) if self.wire else map(str, words)
        subprocess.run(list(words), check=True)

    def send_and_fold(self, path, *more):
        """Readings a second until the last one is in region.log."""
        before, start = self.folded(), time.monotonic()
        self.send(path, *more)
        n = json.loads((self.folder / "fleet.json").read_text())["acked"]
        self.daemons.wait_for("readings are folded", lambda: self.folded() - before >= n, REST_S)
        return n / (time.monotonic() - start)

    def wait_told(self):
        """Until the aggregator has all that the region has, and the webhook what there was to tell of it."""
        unique = self.region.regional.stats()["readings_total"]["unique"]
        self.daemons.wait_for("deltas are folded", lambda: self.aggregator.stats()["readings_unique_total"]["eu"] == unique, REST_S)
        self.daemons.wait_for("all is taken", lambda: self.aggregator.stats()["alerts_waiting"] == 0, REST_S)


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def report(webhook, spikes, load, note):
    raised = [(d.received_ns, line) for d in webhook.deliveries if (line := d.line)["status"] == "raised"]
    told = {int(line["device_id"][5:]): (received_ns - int(line["arrival_ns"])) / 1e6
            for received_ns, line in raised if abs(int(line["onset_ns"]) // 10**9 - spikes.get(int(line["device_id"][5:]), 0)) < SPIKE_READINGS}
    if not told:
        sys.exit("none of the spikes was told")
    ms = sorted(told.values())
    for d in sorted(set(spikes) - set(told)):
        print(f"not told: the spike of mote-{d} at {spikes[d]}", file=sys.stderr)
    note += f"; {len(told)} of {len(spikes)} spikes told, {len(raised) - len(told)} alerts beside them"
    emit("load", load, "readings/s", note, "alert_load")
    for case, value in (("p50, 50 % load", quantile(ms, 0.5)), ("p99, 50 % load", quantile(ms, 0.99)), ("max, 50 % load", ms[-1])):
        emit(case, value, "ms", note)


def run(folder, wire):
    import daemons
    from receivers import Webhook
    rng = random.Random(1)
    now_s = int(time.time())
    begin_s = now_s - 3000
    write_readings(folder / "learn.jsonl", rng, range(begin_s, begin_s + LEARN_S), {})
    with daemons.Place(folder, partitions=16) as place, Webhook() as webhook:
        house = House(place, folder, wire, webhook)
        most = house.send_and_fold(folder / "learn.jsonl")
        speed = most / 2 / DEVICES
        first_s, last_s = begin_s + LEARN_S, begin_s + LEARN_S + int(LOAD_S * speed)
        spikes = {d: rng.randrange(first_s + 5, last_s - int(2 * speed)) for d in rng.sample(range(DEVICES), SPIKES)}
        write_readings(folder / "load.jsonl", rng, range(first_s, last_s), spikes)
        load = house.send_and_fold(folder / "load.jsonl", "--speed", f"{speed:.3f}")
        house.wait_told()
        for d in (house.region.gateway, house.region.regional, house.aggregator):
            d.stop()
        report(webhook, spikes, load, f"{most:,.0f} readings/s are the most, {'XDP on a veth' if wire else 'UDP on loopback'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    os.environ["SLUICE_BUILD"] = str(parser.parse_args().build.resolve())  # where daemons.py looks for programs
    from wire import Wire, why_no_wire
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, contextlib.ExitStack() as stack:
        wire = None if why_no_wire() else stack.enter_context(Wire())
        run(pathlib.Path(folder), wire)


if __name__ == "__main__":
    main()
