"""Running Sluice's programs in whole-system tests: configurations, daemons, streams, readings on the wire.

A test is a story: a Place (a folder and a backend for streams), a Region or two, an aggregator; then send, wait,
compare.  Nothing sleeps as synchronisation: wait_for() polls a condition until a deadline and says what was missing.

Daemons take exactly `--config FILE`, log to stderr (kept in the Place, shown when something fails) and write the port
of their admin server to admin.port_file.
"""
import importlib.util
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "bin"
READY_S, STOP_S, TOOL_S = 60, 30, 600


def absent(*names):
    """Programs that this build does not have."""
    return [name for name in names if not (BIN / name).exists()]


def wait_for(what, condition, timeout_s, step_s=0.05):
    """The condition's first true value; fails with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(step_s)


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def yaml(config):
    """{section: {name: value}} as YAML; a value is written as JSON, which YAML reads."""
    lines = []
    for section, settings in config.items():
        lines.append(f"{section}:")
        lines += [f"  {name}: {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


class Daemon:
    """One process of sluice-PROGRAM.  start() may be called again after stop() or kill()."""

    def __init__(self, program, name, config, folder):
        self.program, self.name, self.folder = program, name, pathlib.Path(folder)
        self.environment = {}  # beside the test's own
        self.log = self.folder / f"{name}.log"
        self.port_file = self.folder / f"{name}.port"
        self.config_file = self.folder / f"{name}.yaml"
        config = {**config, "node": {"id": name, **config.get("node", {})},
                  "admin": {"listen": "127.0.0.1:0", "port_file": str(self.port_file)}}
        self.config_file.write_text(yaml(config))
        self.process = None

    def start(self):
        assert self.process is None
        self.port_file.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / f"sluice-{self.program}", "--config", self.config_file],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "no_proxy": "*", **self.environment})
        return self

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.name}, end of its log:", *lines[-30:]])

    def get(self, path):
        """Status and body of an admin page; (None, reason) while there is none."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}\n{self.tail()}"
        try:
            port = int(self.port_file.read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except (OSError, ValueError) as e:
            return None, str(e)

    def wait_ready(self, timeout_s=READY_S):
        answers = []

        def ready():
            answers[:] = [self.get("/readyz")]
            return answers[0][0] == 200
        try:
            wait_for(f"{self.name} ready", ready, timeout_s)
        except AssertionError as e:
            raise AssertionError(f"{e}; /readyz says {answers}\n{self.tail()}") from None
        return self

    def stats(self):
        status, body = self.get("/stats.json")
        assert status == 200, f"{self.name}: /stats.json gave {status}: {body}"
        return json.loads(body)

    def stop(self, timeout_s=STOP_S):
        """SIGTERM; it must end by itself, with 0."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {timeout_s} s\n{self.tail()}") from None
        self.process = None
        assert status == 0, f"{self.name} ended with {status} on SIGTERM\n{self.tail()}"

    def assert_alive(self):
        if self.process is not None:
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}\n{self.tail()}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.stop()
        return self.start().wait_ready()


class Place:
    """A folder, a backend and the daemons of one test; ends whatever is left at the end."""

    def __init__(self, folder, broker=None, partitions=4):
        self.folder, self.broker, self.partitions = pathlib.Path(folder), broker, partitions
        self.prefix = f"t{os.getpid()}-{time.monotonic_ns()}"
        self.daemons = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for d in self.daemons:
            if kind is not None:
                print(d.tail())
            d.kill()

    def url(self, name):
        return f"kafka:{self.broker}/{self.prefix}.{name}" if self.broker else f"embedded:{self.folder}/streams/{name}"

    def streams(self, **urls):
        return {"partitions": self.partitions, "development": True, **urls}

    def daemon(self, program, name, config):
        d = Daemon(program, name, config, self.folder)
        self.daemons.append(d)
        return d

    def init_streams(self, *daemons):
        for d in daemons:
            sluice("streams", "init", d.config_file)

    @staticmethod
    def start(*daemons):
        for d in daemons:
            d.start()
        for d in daemons:
            d.wait_ready()


class Region:
    """A gateway on a UDP port of the loopback and the regional daemon behind it."""

    def __init__(self, place, name, registry, clock="event", gateway=None, regional=None, more=None):
        self.name, self.port = name, free_port()
        self.log_url = place.url(f"{name}.region.log")
        self.deltas_url = place.url(f"{name}.region.deltas")
        streams = place.streams(clock=clock, edge_telemetry=place.url(f"{name}.edge.telemetry"))
        self.gateway = place.daemon("gateway", f"{name}-gateway", {
            "node": {"region": name},
            "streams": streams,
            "gateway": {"listen": "127.0.0.1", "port": self.port, **(gateway or {})},
            "limit": {"rate": 0},
            "spool": {"dir": str(place.folder / f"{name}-spool")},
            **(more or {}),
        })
        self.regional = place.daemon("regional", f"{name}-regional", {
            "node": {"region": name},
            "streams": {**streams, "region_log": self.log_url, "region_deltas": self.deltas_url,
                        "region_alerts": place.url(f"{name}.region.alerts")},
            "regional": {"registry": str(registry), **(regional or {})},
        })

    @property
    def coap(self):
        return f"coap://127.0.0.1:{self.port}"


def aggregator(place, regions, clock="event", alerts=None, **settings):
    d = place.daemon("aggregator", "aggregator", {
        "streams": place.streams(clock=clock, global_log=place.url("global.log"),
                                 global_windows=place.url("global.windows"), global_alerts=place.url("global.alerts")),
        "aggregator": {"regions": {r.name: r.deltas_url for r in regions}, **settings},
        **({"alerts": alerts} if alerts else {}),
    })
    d.windows_url, d.alerts_url = place.url("global.windows"), place.url("global.alerts")
    return d


def sluice(*arguments, timeout_s=TOOL_S):
    """Standard output of the tool; fails with what it said when its status is not 0."""
    done = subprocess.run([BIN / "sluice", *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"sluice {' '.join(map(str, arguments))}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def tap(url):
    """Everything that a stream holds now, as dictionaries."""
    return [json.loads(line) for line in sluice("tap", url, "--until-end").splitlines()]


def latest(windows):
    """{(window_start_ns, type, metric): window} of the highest versions."""
    best = {}
    for w in windows:
        key = int(w["window_start_ns"]), w["type"], w["metric"]
        if key not in best or int(w["version"]) > int(best[key]["version"]):
            best[key] = w
    return best


# ---------------------------------------------------------------- readings on the wire

def load_vectors():
    spec = importlib.util.spec_from_file_location("vectors", ROOT / "tests/vectors/make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VECTORS = load_vectors()  # has a SipHash of its own


def field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def telemetry(device_id, timestamp_ns, metrics, region=""):
    """A Telemetry payload under the open key, and the receipt that its 2.04 must carry."""
    rest = b"\x11" + struct.pack("<q", timestamp_ns) + field(3, device_id.encode())
    if region:
        rest += field(4, region.encode())
    for name, value in sorted(metrics.items()):
        rest += field(5, field(1, name.encode()) + b"\x11" + struct.pack("<d", value + 0.0))
    word1, word2 = VECTORS.tag(VECTORS.OPEN_KEY, rest)
    return b"\x09" + struct.pack("<Q", word1) + rest, struct.pack("<Q", word2)
