"""Alerts as Debian's Alertmanager sees them: the notifier (through notify_post.c) on one side, its API and the
notifications that it sends to a webhook on the other."""
import json
import os
import pathlib
import queue
import subprocess
import threading
import time

import pytest

from daemons import wait_for
from receivers import PATIENCE_S, PROGRAM, WHY_NO_ALERTMANAGER, Alertmanager, Sink

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")).resolve()
pytestmark = pytest.mark.skipif(not PROGRAM, reason=WHY_NO_ALERTMANAGER)


class Sender:
    """notify_post: one notifier with this Alertmanager as its receiver."""

    def __init__(self, program, url, resend_ms):
        self.child = subprocess.Popen([program, "alertmanager", url, str(resend_ms)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, env={**os.environ, "no_proxy": "*"})
        self.receipts = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            self.receipts.put(line.split()[:3])

    def send(self, alert_id, version, status, severity="warning", raised_severity="-", **more):
        """Without waiting for its receipt."""
        line = {"alert_id": f"{alert_id:016x}", "status": status, "rule": "cold-room", "severity": severity,
                "kind": "level-shift", "direction": "down", "region": "eu-1", "device_id": "fridge-7", "devices": 12,
                "type": "thermometer", "place": "Küche \"2\"", "metric": "temperature", "value": -3.5, "expected": 4,
                "score": 0.9987, "onset_ns": str(time.time_ns() - 10**10), "version": str(version), **more}
        state = "ended" if status == "cleared" else "open"
        self.child.stdin.write(f"{alert_id:x} {version} {state} {raised_severity} {json.dumps(line)}\n")
        self.child.stdin.flush()

    def tell(self, alert_id, version, *rest, **more):
        self.send(alert_id, version, *rest, **more)
        assert self.receipts.get(timeout=PATIENCE_S) == [f"{alert_id:016x}", str(version), "taken"]

    def stop(self):
        if self.child.poll() is None:
            self.child.stdin.close()
            assert self.child.wait(PATIENCE_S) == 0


@pytest.fixture(scope="module")
def notify_post(tmp_path_factory):
    program = tmp_path_factory.mktemp("notify") / "notify_post"
    build = os.path.relpath(BUILD, ROOT)
    subprocess.run(["make", "-s", f"O={build}", f"{build}/libsluice.a"], cwd=ROOT, check=True)
    libraries = subprocess.run(["pkg-config", "--libs", "libcurl", "jansson"], check=True, capture_output=True,
                               text=True).stdout.split()
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-pthread", "-I.", "-Iuser", "-o", program,
                    "tests/system/notify_post.c", f"{build}/libsluice.a", *libraries, "-lm"], cwd=ROOT, check=True)
    return program


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


@pytest.fixture
def alertmanager(tmp_path, sink):
    a = Alertmanager(tmp_path, sink)
    try:
        a.start()
        yield a
    finally:
        a.kill()


@pytest.fixture
def sender_of(notify_post, alertmanager):
    """sender_of(resend_ms) starts one; all are ended."""
    senders = []

    def start(resend_ms):
        senders.append(Sender(notify_post, alertmanager.url, resend_ms))
        return senders[-1]
    yield start
    for s in senders:
        s.stop()


def test_an_alert_stays_one_from_its_raise_over_its_escalation_to_its_end(alertmanager, sink, sender_of):
    sender = sender_of(60000)
    sender.tell(0xa1, 1, "raised")
    [raised] = alertmanager.alerts()
    assert raised["labels"] == {"alertname": "cold-room", "alert_id": "00000000000000a1", "severity": "warning",
                                "kind": "level-shift", "region": "eu-1", "type": "thermometer", "place": "Küche \"2\"",
                                "metric": "temperature"}
    assert raised["annotations"]["summary"] == \
        "level-shift down: temperature of thermometer at Küche \"2\": -3.5, expected 4, 12 devices"
    assert raised["annotations"]["status"] == "raised"
    assert raised["generatorURL"] == "http://sluice.example/alerts"
    assert raised["status"]["state"] in ("active", "unprocessed")
    assert sink.notified.get(timeout=PATIENCE_S) == ("firing", "00000000000000a1")

    sender.tell(0xa1, 2, "escalated", "critical", devices=40)
    [escalated] = alertmanager.alerts()
    assert escalated["fingerprint"] == raised["fingerprint"]
    assert escalated["labels"] == raised["labels"]
    assert escalated["annotations"]["severity"] == "critical" and escalated["annotations"]["devices"] == "40"
    # What the one identity costs: nobody is notified anew.
    flushes = alertmanager.flushes()
    wait_for("two looks at the group", lambda: alertmanager.flushes() >= flushes + 2, PATIENCE_S)
    assert sink.notified.empty()

    sender.tell(0xa1, 3, "cleared", "critical", reason="quiet")
    assert alertmanager.alerts() == []
    assert sink.notified.get(timeout=PATIENCE_S) == ("resolved", "00000000000000a1")
    assert sink.notified.empty()


def test_what_is_open_comes_back_after_the_alertmanager_lost_everything(alertmanager, sender_of):
    sender = sender_of(300)
    sender.tell(0xb1, 1, "raised")
    sender.tell(0xb2, 1, "raised")
    sender.tell(0xb2, 2, "cleared")
    sender.tell(0xb3, 1, "raised")
    sender.tell(0xb3, 2, "escalated", "critical")
    before = {a["labels"]["alert_id"]: a["fingerprint"] for a in alertmanager.alerts()}
    assert set(before) == {"00000000000000b1", "00000000000000b3"}
    alertmanager.kill()
    sender.send(0xb4, 1, "raised")
    alertmanager.start()
    after = wait_for("open alerts are back", lambda: len(alertmanager.alerts()) == 3 and alertmanager.alerts(), PATIENCE_S)
    assert {a["labels"]["alert_id"]: a["fingerprint"] for a in after}.items() > before.items()
    assert sender.receipts.get(timeout=PATIENCE_S) == ["00000000000000b4", "1", "taken"]
    sender.tell(0xb1, 2, "cleared")
    assert {a["labels"]["alert_id"] for a in alertmanager.alerts()} == {"00000000000000b3", "00000000000000b4"}


def test_an_open_alert_of_a_sender_that_is_gone_ends_by_itself(alertmanager, sink, sender_of):
    sender = sender_of(250)
    sender.tell(0xc1, 1, "raised")
    # Longer than one telling lasts (4 x 250 ms): it is open because it was told again.
    first = alertmanager.alerts()[0]
    wait_for("it was told again", lambda: alertmanager.alerts()[0]["endsAt"] > first["endsAt"], PATIENCE_S)
    sender.stop()
    wait_for("it ended", lambda: alertmanager.alerts() == [], PATIENCE_S)
    assert sink.notified.get(timeout=PATIENCE_S) == ("firing", "00000000000000c1")
    assert sink.notified.get(timeout=PATIENCE_S) == ("resolved", "00000000000000c1")


def test_a_sender_that_starts_again_speaks_of_the_same_alert(alertmanager, sender_of):
    sender = sender_of(60000)
    sender.tell(0xd1, 1, "raised")
    [before] = alertmanager.alerts()
    sender.stop()
    again = sender_of(60000)
    again.tell(0xd1, 2, "escalated", "critical", raised_severity="warning")
    [after] = alertmanager.alerts()
    assert after["fingerprint"] == before["fingerprint"] and after["annotations"]["severity"] == "critical"


def test_many_at_once_are_all_there(alertmanager, sender_of):
    sender = sender_of(60000)
    for i in range(1000):
        sender.send(0xe000 + i, 1, "raised")
    for _ in range(1000):
        assert sender.receipts.get(timeout=PATIENCE_S)[2] == "taken"
    assert {a["labels"]["alert_id"] for a in alertmanager.alerts()} == {f"{0xe000 + i:016x}" for i in range(1000)}
