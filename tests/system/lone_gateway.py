"""One gateway on loopback, without XDP and without a region behind it, for tests that need no more."""
import json
import subprocess

from daemons import BIN, Daemon, free_port, sluice, tap


class Gateway(Daemon):
    """Started and ready; more is {section: {name: value}} over the defaults."""

    def __init__(self, folder, more=None):
        self.coap_port, self.edge = free_port(), f"embedded:{folder}/edge.telemetry"
        config = {
            "node": {"region": "eu"},
            "streams": {"partitions": 4, "edge_telemetry": self.edge},
            "gateway": {"listen": "127.0.0.1", "port": self.coap_port},
            "spool": {"dir": f"{folder}/spool"},
        }
        super().__init__("gateway", "gw", {**config, **(more or {})}, folder)
        sluice("streams", "init", self.config_file)
        self.start().wait_ready()

    def verdicts(self):
        return self.stats()["verdicts_total"]

    def readings(self):
        """In edge.telemetry, as often as they are there."""
        return tap(self.edge)

    def fleet(self, *arguments):
        """The fleet against it, a running process; figures() has what became of it."""
        return subprocess.Popen([BIN / "sluice", "simulate", "--to", f"coap://127.0.0.1:{self.coap_port}", "--quiet", "--json",
                                 self.folder / "fleet.json", *map(str, arguments)], stderr=subprocess.PIPE, text=True)

    def figures(self):
        path = self.folder / "fleet.json"
        return json.loads(path.read_text()) if path.exists() else {"acked": 0}
