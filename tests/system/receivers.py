"""Whom alerts are told: a webhook of the tests' own, and a real Alertmanager with somebody behind it."""
import dataclasses
import http.server
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from daemons import free_port, wait_for

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
WHY_NO_ALERTMANAGER = "no Alertmanager: apt-get install prometheus-alertmanager"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENCE_S = 30


class Handler(http.server.BaseHTTPRequestHandler):
    """Each body goes to server.take(headers, bytes), whole, and only then it is answered."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        try:
            self.server.take(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked has been killed

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """On a free port of the loopback until the end of `with`."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


@dataclasses.dataclass(frozen=True)
class Delivery:
    received_ns: int
    key: str  # Idempotency-Key
    body: bytes

    @property
    def line(self):
        return json.loads(self.body)


class Webhook(Server):
    """deliveries: all of them, as they came."""

    def __init__(self):
        super().__init__()
        self.deliveries, self.lock, self.trap = [], threading.Lock(), None

    def take(self, headers, body):
        with self.lock:
            self.deliveries.append(Delivery(time.time_ns(), headers["Idempotency-Key"], body))
            if self.trap and len(self.deliveries) >= self.trap[0]:
                (_, act, done), self.trap = self.trap, None
                act()
                done.set()

    def at_delivery(self, n, act):
        """Has this done before the delivery of that number, or the next one, is answered; returns an Event of it."""
        done = threading.Event()
        with self.lock:
            self.trap = n, act, done
        return done

    def told(self, *statuses):
        """The lines of these steps, each once however often it was delivered."""
        lines = {d.key: d.line for d in self.deliveries}
        return [line for line in lines.values() if line["status"] in statuses]


class Sink(Server):
    """Whom the Alertmanager notifies: (status, alert_id) of each alert in each notification, as they come."""

    def __init__(self):
        super().__init__()
        self.notified = queue.Queue()

    def take(self, headers, body):
        for alert in json.loads(body)["alerts"]:
            self.notified.put((alert["status"], alert["labels"]["alert_id"]))


class Alertmanager:
    """On loopback, without a cluster, with a folder of its own."""

    def __init__(self, folder, sink):
        self.folder, self.port, self.process, self.starts = folder, free_port(socket.SOCK_STREAM), None, 0
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "alertmanager.yml").write_text(json.dumps({
            "route": {"receiver": "people", "group_by": ["alert_id"], "group_wait": "10ms", "group_interval": "500ms",
                      "repeat_interval": "1h"},
            "receivers": [{"name": "people", "webhook_configs": [{"url": sink.url, "send_resolved": True}]}]}))

    def start(self):
        """With nothing remembered of an earlier start."""
        self.starts += 1
        with open(self.folder / "alertmanager.log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/{self.starts}",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="], stdout=log, stderr=log,
                env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")})
        wait_for("Alertmanager is ready", self.ready, PATIENCE_S)

    def get(self, path):
        with DIRECT.open(self.url + path, timeout=5) as answer:
            return answer.read()

    def ready(self):
        assert self.process.poll() is None, (self.folder / "alertmanager.log").read_text()
        try:
            return self.get("/-/ready")
        except (urllib.error.URLError, OSError):
            return False

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def flushes(self):
        """How often it asked itself so far whether a group must be notified."""
        return float(re.search(r"^alertmanager_nflog_queries_total (\S+)", self.get("/metrics").decode(), re.M)[1])

    def alerts(self):
        return json.loads(self.get("/api/v2/alerts"))
