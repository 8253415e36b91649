"""One gateway on loopback, without XDP, for tests that need no more."""
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "bin"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gateway:
    def __init__(self, folder, more=""):
        self.folder, self.port = folder, free_port()
        self.config = folder / "gateway.yaml"
        self.config.write_text(f"""
node: {{id: gw, region: eu}}
admin: {{listen: "127.0.0.1:0", port_file: "{folder}/port"}}
streams: {{partitions: 4, edge_telemetry: "embedded:{folder}/edge.telemetry"}}
gateway: {{listen: 127.0.0.1, port: {self.port}}}
spool: {{dir: "{folder}/spool"}}
{more}
""")
        subprocess.run([BIN / "sluice", "streams", "init", self.config], check=True, stdout=subprocess.DEVNULL)
        self.start()

    def start(self):
        (self.folder / "port").unlink(missing_ok=True)
        self.process = subprocess.Popen([BIN / "sluice-gateway", "--config", self.config], stderr=open(self.folder / "log", "a"))
        deadline = time.monotonic() + 20
        while not self.ready():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def get(self, path):
        port = int((self.folder / "port").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read()

    def ready(self):
        try:
            return self.get("/readyz") is not None
        except OSError:
            return False
        except ValueError:
            return False

    def verdicts(self):
        return json.loads(self.get("/stats.json"))["verdicts"]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) == 0

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def tap(self):
        """Readings in edge.telemetry, as often as they are there."""
        done = subprocess.run([BIN / "sluice", "tap", f"embedded:{self.folder}/edge.telemetry"], check=True, stdout=subprocess.PIPE, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


def simulate(gateway, folder, *arguments):
    """The fleet against it: a running process; its figures come to folder/fleet.json."""
    return subprocess.Popen([BIN / "sluice", "simulate", "--to", f"coap://127.0.0.1:{gateway.port}", "--quiet", "--json", folder / "fleet.json",
                             *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def figures(folder):
    return json.loads((folder / "fleet.json").read_text())
