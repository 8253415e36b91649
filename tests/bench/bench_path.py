#!/usr/bin/env python3
"""The whole path, from the socket to the global window, with readings shaped like real ones.

Input: the ULB library sensor data when it is there (its rows spread over 2,000 devices, so that one exchange a device
does not bound the rate), else made-up readings; the note says which.  One gateway, one region, one aggregator:

  embedded, xdp   veth with the XDP program, in namespaces (by `sluice demo`)
  embedded, udp   the UDP socket on loopback
  kafka, udp      the same on a real Apache Kafka, where Java and Maven are

CPU seconds are each process's own (and the XDP program's run time), divided by the readings that are in region.log; the
rate is bounded by this machine, which the fleet shares.
"""
import argparse
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
DEVICES = 2000
READINGS = 300_000
REST_S = 120


def emit(name, case, value, unit, note=""):
    print(json.dumps({"name": name, "case": case, "value": value, "unit": unit, "note": note}), flush=True)


def ulb_rows():
    try:
        import ulb
        return list(ulb.rows())
    except (ImportError, FileNotFoundError, OSError, AttributeError):
        return None


def write_input(folder):
    """READINGS lines, a device's own in order of time. Returns what they are."""
    rows = ulb_rows()
    what = "ULB rows over 2,000 devices" if rows else "made-up readings (no ULB data here)"
    rng = random.Random(1)
    with open(folder / "input.jsonl", "w") as out, open(folder / "registry.csv", "w") as registry:
        registry.write("device_id,type,place,owner,latitude,longitude\n")
        for d in range(DEVICES):
            registry.write(f"mote-{d},{'hall' if d % 2 else 'outdoor'},p{d % 4},bench,50,4\n")
        for i in range(READINGS):
            metrics = rows[i % len(rows)]["metrics"] if rows else {
                n: round(rng.uniform(0, 60), 2) for n in ("humidity", "internal_temperature", "par", "temperature", "tsr", "voltage")}
            stamp = 1_700_000_000_000 + i * 20 + rng.randrange(20)
            out.write(json.dumps({"device_id": f"mote-{i % DEVICES}", "timestamp_ns": f"{stamp}000000", "metrics": metrics}) + "\n")
    return what


class Tiers:
    """Three daemons on loopback over the streams of one backend."""

    def __init__(self, build, folder, prefix):
        self.bin, self.folder, self.processes, self.ports = build / "bin", folder, {}, {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            self.coap = s.getsockname()[1]
        streams = "".join(f'  {n.replace(".", "_")}: "{prefix}{n}"\n' for n in ("edge.telemetry", "region.log", "region.deltas", "region.alerts"))
        common = "streams:\n  development: true\n  clock: event\n"
        self.write("gateway", common + streams + f"gateway: {{listen: 127.0.0.1, port: {self.coap}}}\nspool: {{dir: \"{folder}/spool\"}}\n"
                   "limit: {rate: 0}\n", "eu")
        self.write("regional", common + streams + f'regional: {{registry: "{folder}/registry.csv", allowed_lateness: 1min}}\n', "eu")
        self.write("aggregator", common + "".join(f'  {n.replace(".", "_")}: "{prefix}{n}"\n' for n in ("global.log", "global.windows", "global.alerts"))
                   + f'aggregator: {{regions: {{eu: "{prefix}region.deltas"}}}}\n', None)

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


def run_udp(build, backend, prefix, what):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    try:
        write_input(folder)
        tiers = Tiers(build, folder, prefix or f"embedded:{folder}/")
        tiers.start()
        start = time.monotonic()
        subprocess.run([build / "bin/sluice", "simulate", "--from", folder / "input.jsonl", "--to", f"coap://127.0.0.1:{tiers.coap}",
                        "--quiet", "--json", folder / "fleet.json"], check=True)
        deadline = time.monotonic() + REST_S
        while folded(tiers.stats("regional")) < READINGS and time.monotonic() < deadline:
            time.sleep(0.05)
        seconds = time.monotonic() - start
        gateway, regional, aggregator = (tiers.stats(n) for n in ("gateway", "regional", "aggregator"))
        tiers.stop()
        unique = folded(regional)
        note = f"{backend}, udp: {what}"
        emit("path_readings_per_s", f"{backend}, udp", unique / seconds, "readings/s", note)
        for name, stats in (("gateway", gateway), ("regional", regional), ("aggregator", aggregator)):
            emit("cpu_s_per_million", f"{backend}, udp: {name}", stats["process_cpu_seconds"] / unique * 1e6, "CPU s/10^6", note)
        emit("bytes_per_reading", f"{backend}: edge_telemetry", gateway["published_bytes_total"] / max(1, gateway["published_readings_total"]), "bytes", note)
        emit("batch_mean", f"{backend}", gateway["published_readings_total"] / max(1, gateway["published_envelopes_total"] - gateway["published_heartbeats_total"]), "readings", note)
        if backend == "embedded":
            emit("bytes_per_reading", "embedded: region_log", folder_bytes(folder / "region.log") / unique, "bytes", note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_xdp(build):
    """Made-up sensors at a rate that this machine carries; the demo's own figures."""
    with tempfile.TemporaryDirectory() as folder:
        figures = pathlib.Path(folder) / "demo.json"
        subprocess.run([build / "bin/sluice", "demo", "--quiet", "--seconds", "30", "--devices", "10000", "--rate", "8000", "--json", figures],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        f = json.loads(figures.read_text())
    if f["path"] != "xdp":
        print("no XDP here: the kernel's part is not measured", file=sys.stderr)
        return
    for name, value in f["cpu_s_per_million"].items():
        emit("cpu_s_per_million", f"embedded, xdp: {name}", value, "CPU s/10^6", "made-up sensors, three regions, 24,000 readings/s")
    for name, value in f["bytes_per_reading"].items():
        emit("bytes_per_reading", f"embedded, xdp: {name}", value, "bytes", f"batches of {f['batch_mean']:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    build = parser.parse_args().build.resolve()
    with tempfile.TemporaryDirectory() as folder:
        what = write_input(pathlib.Path(folder))
    if os.geteuid() == 0:
        run_xdp(build)
    run_udp(build, "embedded", None, what)
    broker = os.environ.get("SLUICE_TEST_KAFKA")
    if broker:
        run_udp(build, "kafka", f"kafka:{broker}/bench{os.getpid()}.", what)
        return
    if not shutil.which("java") or not shutil.which("mvn"):
        print("no Java or Maven: Kafka is not measured", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        kafka = ROOT / "deploy/kafka/kafka-dev"
        broker = subprocess.run([kafka, "start", f"{folder}/kafka"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        try:
            run_udp(build, "kafka", f"kafka:{broker}/bench.", what)
        finally:
            subprocess.run([kafka, "stop", f"{folder}/kafka"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
