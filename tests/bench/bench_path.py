#!/usr/bin/env python3
"""The whole path, from the NIC to the global window, with readings shaped like real ones.

Input: the ULB library sensor data when it is there (its rows spread over 2,000 devices, so that one exchange a device
does not bound the rate), else made-up readings; the note says which.  One gateway, one region, one aggregator on
embedded streams, and once more on a real Apache Kafka (cases "kafka: ...") where Java and Maven are.

As root the fleet sends over a veth with the XDP program (tests/system/wire.py), else over the UDP socket on loopback.  CPU seconds
are each process's own and the XDP program's run time, divided by the readings in region.log.  The gateway's contain what
the kernel does for it, the fleet's receiving end of the veth included.  The rate is bounded by this machine, which the
fleet shares.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
from wire import Wire, why_no_wire  # noqa: E402

DEVICES = 2000
READINGS = 300_000
REST_S = 120


def emit(name, case, value, unit, note=""):
    print(json.dumps({"name": name, "case": case, "value": value, "unit": unit, "note": note}), flush=True)


def ulb_metrics():
    """The metrics of each row, or None where the data is absent."""
    try:
        import ulb
        return [dict((name, float(value)) for name, value in reading.metrics) for reading in ulb.load()[0]]
    except (ImportError, OSError):
        return None


def write_input(folder):
    """READINGS lines, a device's own in order of time. Returns what they are."""
    rows = ulb_metrics()
    what = "ULB rows over 2,000 devices" if rows else "made-up readings (no ULB data here)"
    rng = random.Random(1)
    with open(folder / "input.jsonl", "w") as out, open(folder / "registry.csv", "w") as registry:
        registry.write("device_id,type,place,owner,latitude,longitude\n")
        for d in range(DEVICES):
            registry.write(f"mote-{d},{'hall' if d % 2 else 'outdoor'},p{d % 4},bench,50,4\n")
        for i in range(READINGS):
            metrics = rows[i % len(rows)] if rows else {
                n: round(rng.uniform(0, 60), 2) for n in ("humidity", "internal_temperature", "par", "temperature", "tsr", "voltage")}
            stamp = 1_700_000_000_000 + i * 20 + rng.randrange(20)
            out.write(json.dumps({"device_id": f"mote-{i % DEVICES}", "timestamp_ns": f"{stamp}000000", "metrics": metrics}) + "\n")
    return what


class Tiers:
    """Three daemons on loopback over the streams of one backend."""

    def __init__(self, build, folder, prefix, wire):
        self.bin, self.folder, self.wire, self.processes = build / "bin", folder, wire, {}
        streams = "".join(f'  {n.replace(".", "_")}: "{prefix}{n}"\n' for n in ("edge.telemetry", "region.log", "region.deltas", "region.alerts"))
        common = "streams:\n  development: true\n  clock: event\n"
        self.write("gateway", common + streams + self.door() + f'spool: {{dir: "{folder}/spool"}}\nlimit: {{rate: 0}}\n', "eu")
        self.write("regional", common + streams + f'regional: {{registry: "{folder}/registry.csv", allowed_lateness: 1min}}\n', "eu")
        self.write("aggregator", common + "".join(f'  {n.replace(".", "_")}: "{prefix}{n}"\n' for n in ("global.log", "global.windows", "global.alerts"))
                   + f'aggregator: {{regions: {{eu: "{prefix}region.deltas"}}}}\n', None)

    def door(self):
        if self.wire:
            return "".join(f"{section}: {json.dumps(settings)}\n" for section, settings in self.wire.settings.items())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        return f"gateway: {{listen: 127.0.0.1, port: {self.port}}}\n"

    def send(self):
        words = [self.bin / "sluice", "simulate", "--from", self.folder / "input.jsonl", "--quiet", "--json", self.folder / "fleet.json", "--to",
                 self.wire.url if self.wire else f"coap://127.0.0.1:{self.port}"]
        subprocess.run(self.wire.command(*words, "--let-pass", self.wire.far) if self.wire else words, check=True)

    def write(self, name, text, region):
        node = f"node: {{id: {name}" + (f", region: {region}" if region else "") + "}\n"
        admin = f'admin: {{listen: "127.0.0.1:0", port_file: "{self.folder}/{name}.port"}}\n'
        (self.folder / f"{name}.yaml").write_text(node + admin + text)
        subprocess.run([self.bin / "sluice", "streams", "init", self.folder / f"{name}.yaml"], check=True, stdout=subprocess.DEVNULL)

    def start(self):
        for name in ("regional", "aggregator", "gateway"):
            self.processes[name] = subprocess.Popen([self.bin / f"sluice-{name}", "--config", self.folder / f"{name}.yaml"],
                                                    stderr=open(self.folder / f"{name}.log", "w"))
        deadline = time.monotonic() + 60
        for name in self.processes:
            while not self.get(name, "/readyz"):
                assert time.monotonic() < deadline, f"{name} is not ready: {(self.folder / f'{name}.log').read_text()[-2000:]}"
                time.sleep(0.05)

    def get(self, name, path):
        try:
            port = int((self.folder / f"{name}.port").read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.read() or b" "
        except (OSError, ValueError):
            return None

    def stats(self, name):
        return json.loads(self.get(name, "/stats.json"))

    def stop(self):
        for process in reversed(list(self.processes.values())):
            process.terminate()
        for process in self.processes.values():
            process.wait(15)


def folded(stats):
    """New readings in region.log, whatever became of them."""
    r = stats["readings_total"]
    return r["unique"] + r["late"] + r["ahead"] + r["ancient"]


def folder_bytes(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0


def emit_run(case, folder, seconds, stats, note):
    gateway, unique = stats["gateway"], folded(stats["regional"])
    published = max(1, gateway["published_readings_total"])
    batches = max(1, gateway["published_envelopes_total"] - gateway["published_heartbeats_total"])
    cpu = {name: s["process_cpu_seconds"] for name, s in stats.items()}
    if gateway["kernel_cpu_seconds"]:
        cpu["kernel"] = gateway["kernel_cpu_seconds"]
    emit("path_readings_per_s", case.rstrip(": ") or "embedded", unique / seconds, "readings/s", note)
    for name in ("kernel", "gateway", "regional", "aggregator"):
        if name in cpu:
            emit("cpu_s_per_million", case + name, cpu[name] / unique * 1e6, "CPU s/10^6", note)
    emit("cpu_s_per_million", case + "all", sum(cpu.values()) / unique * 1e6, "CPU s/10^6", note)
    emit("bytes_per_reading", case + "edge_telemetry", gateway["published_bytes_total"] / published, "bytes", f"batches of {published / batches:.0f}")
    if not case:
        emit("bytes_per_reading", "region_log", folder_bytes(folder / "region.log") / unique, "bytes", note)


def run(build, case, prefix, wire):
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = pathlib.Path(name)
        note = f"{write_input(folder)}, {'XDP on a veth' if wire else 'UDP on loopback'}"
        tiers = Tiers(build, folder, prefix or f"embedded:{folder}/", wire)
        tiers.start()
        start = time.monotonic()
        tiers.send()
        deadline = time.monotonic() + REST_S
        while folded(tiers.stats("regional")) < READINGS and time.monotonic() < deadline:
            time.sleep(0.05)
        seconds = time.monotonic() - start
        stats = {name: tiers.stats(name) for name in ("gateway", "regional", "aggregator")}
        tiers.stop()
        emit_run(case, folder, seconds, stats, note)


@contextlib.contextmanager
def bpf_stats():
    """The kernel keeps a program's CPU time only while this is on."""
    path = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    was = path.read_text()
    path.write_text("1")
    try:
        yield
    finally:
        path.write_text(was)


def run_both(build, wire):
    run(build, "", None, wire)
    broker = os.environ.get("SLUICE_TEST_KAFKA")
    if broker:
        run(build, "kafka: ", f"kafka:{broker}/bench{os.getpid()}.", wire)
        return
    if not shutil.which("java") or not shutil.which("mvn"):
        print("no Java or Maven: Kafka is not measured", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        kafka = ROOT / "deploy/kafka/kafka-dev"
        broker = subprocess.run([kafka, "start", f"{folder}/kafka"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        try:
            run(build, "kafka: ", f"kafka:{broker}/bench.", wire)
        finally:
            subprocess.run([kafka, "stop", f"{folder}/kafka"], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    build = parser.parse_args().build.resolve()
    why = why_no_wire()
    if why:
        print(f"{why}: the kernel's part is not measured", file=sys.stderr)
        run_both(build, None)
        return
    with bpf_stats(), Wire() as wire:
        run_both(build, wire)


if __name__ == "__main__":
    main()
