"""The whole way of an alert: what is put into the readings of a fleet comes out at a webhook and at a real Alertmanager,
each anomaly once, whoever is killed on the way.

A story is told twice: as a file of ordinary readings, and as what `simulate --inject` makes of it.  Its time is the
readings' own (streams.clock: event), so what must come out does not depend on how fast this machine is; `simulate
--truth` says what that is.  The anomalies are beyond doubt, 100 degrees where 0.3 are usual, and a series that may have
a false alarm in a week has none in 13 minutes of even noise.
"""
import collections
import csv
import json
import random
import subprocess
import time

import pytest

import daemons
from daemons import BIN, sluice, tap, wait_for
from receivers import PATIENCE_S, PROGRAM, WHY_NO_ALERTMANAGER, Alertmanager, Sink, Webhook

pytestmark = pytest.mark.skipif(not PROGRAM, reason=WHY_NO_ALERTMANAGER)

S = 10**9
BEGIN_S = 1_780_000_020  # of the readings' time; a minute begins
PLACES = "abcdefgh"
DEVICES = {f"{place}{n}": f"hall-{place}" for place in PLACES for n in range(6)}
WARM_S = 600
DEADLINE_S = 60
SEED = 4
STATUSES = "raised", "updated", "escalated", "acknowledged", "cleared", "past"

RULES = """
rules:
  - name: unheard
    from: [device]
    kinds: [silence]
    severity: warning
    clear_after: 3s
    escalate: {after: 60s, to: critical}
  - name: unusual
    from: [device]
    severity: warning
    clear_after: 3s
    escalate: {devices: 4, to: critical}
"""


def write_readings(path, rng, seconds):
    """A reading a second of every device, nothing in it out of the ordinary."""
    with open(path, "w") as out:
        for s in seconds:
            for i, device in enumerate(DEVICES):
                metrics = {"humidity": round(rng.uniform(49, 51), 2), "temperature": round(rng.uniform(19.7, 20.3), 2)}
                print(json.dumps({"timestamp_ns": str(s * S + i * 10**6), "device_id": device, "metrics": metrics}), file=out)
    return path


class Fleet:
    """The devices: ordinary until they are told a part of the story."""

    def __init__(self, folder, region):
        self.folder, self.region, self.rng, self.now_s, self.processes = folder, region, random.Random(SEED), BEGIN_S, []
        with open(folder / "registry.csv", "w") as out:
            print("device_id,type,place,owner,latitude,longitude", file=out)
            for device, place in DEVICES.items():
                print(f"{device},thermometer,{place},tests,50,4", file=out)

    def send(self, seconds, *injected, speed=None):
        """A running process. seconds: of the readings' time."""
        path = write_readings(self.folder / f"readings-{self.now_s}.jsonl", self.rng,
                              range(self.now_s, self.now_s + seconds))
        words = [BIN / "sluice", "simulate", "--from", path, "--to", self.region.coap, "--quiet", "--spread", 3, "--seed", SEED,
                 "--json", self.folder / f"fleet-{self.now_s}.json"]
        words += ["--speed", speed] if speed else []
        for text in injected:
            words += ["--inject", text]
        if injected:
            words += ["--truth", self.folder / f"truth-{self.now_s}.csv"]
        self.now_s += seconds
        self.processes.append(subprocess.Popen([str(w) for w in words], stderr=subprocess.PIPE, text=True))
        return self.processes[-1]

    def kill(self):
        for p in self.processes:
            p.kill()
            p.communicate()

    def truth(self):
        rows = []
        for path in sorted(self.folder.glob("truth-*.csv")):
            with open(path) as file:
                rows += list(csv.DictReader(file))
        return rows


class Whole:
    """Gateway, region, aggregator, and both receivers."""

    def __init__(self, place, folder, webhook, sink, clock="event", lateness="5s"):
        self.place, self.folder, self.webhook, self.sink = place, folder, webhook, sink
        (folder / "rules.yaml").write_text(RULES)
        self.region = daemons.Region(place, "eu", folder / "registry.csv", clock=clock, regional={
            "allowed_lateness": lateness, "false_alarms_per_week": 1, "delta_interval": "500ms"})
        self.alertmanager = Alertmanager(folder, sink)
        self.aggregator = daemons.aggregator(place, [self.region], clock=clock, alerts={
            "rules": str(folder / "rules.yaml"), "webhook": [webhook.url], "alertmanager": [self.alertmanager.url],
            "resend": "1s", "retry_max": "500ms"})
        self.daemons = self.region.gateway, self.region.regional, self.aggregator
        self.fleet = Fleet(folder, self.region)
        place.init_streams(*self.daemons)
        self.alertmanager.start()

    def start(self, *which):
        self.place.start(*(which or self.daemons))

    def folded(self):
        return self.region.regional.stats()["readings_total"]

    def fold_all(self):
        """Until all that was acknowledged is in region.log, once."""
        sent = sum(json.loads(p.read_text())["acked"] for p in self.fleet.folder.glob("fleet-*.json"))
        wait_for("all readings are folded", lambda: sum(self.folded().values()) - self.folded()["duplicate"] == sent, DEADLINE_S)
        assert self.folded()["unique"] == sent, self.folded()

    def tell(self, *arguments, **more):
        assert_ended(self.fleet.send(*arguments, **more))
        self.fold_all()

    def open_alerts(self):
        return [json.loads(line) for line in sluice("alerts", "--json", "--config", self.aggregator.config_file).splitlines()]

    def stop(self):
        for d in self.daemons:
            d.stop()


def assert_ended(fleet):
    assert fleet.wait(DEADLINE_S) == 0, fleet.stderr.read()


@pytest.fixture
def whole_of(tmp_path):
    """whole_of(...) makes one, for Whole's further arguments; it is ended."""
    made = []
    with daemons.Place(tmp_path) as place, Webhook() as webhook, Sink() as sink:
        def make(**more):
            made.append(Whole(place, tmp_path, webhook, sink, **more))
            return made[-1]
        try:
            yield make
        finally:
            for w in made:
                w.fleet.kill()
                w.alertmanager.kill()


@pytest.fixture
def whole(whole_of):
    w = whole_of()
    w.start()
    return w


# ---------------------------------------------------------------- what must come out

STORY_S = 180
STORY = [
    *(f"spike:temperature@{10 + n}+3x100,device=a{n}" for n in range(5)),  # one story of five devices
    "spike:temperature@20+3x100,device=b0",
    "spike:temperature@20+3x-100,device=c0",             # at the same time, elsewhere
    "spike:humidity@25+3x300,device=b1",                 # another metric
    "spike:temperature@90+3x100,device=b2",              # another time
    "level-shift:temperature@30+60x-100,device=d0",
    "drift:temperature@40+60x350,device=e0",
    "silence@50+50,device=f0",
    *(f"silence@60+60,device=g{n}" for n in range(3)),
    "silence@120+1000,device=h0",                       # until the end
]


def expected(truth):
    """{(place, metric or "" for silence, onset in whole minutes of the story): rows of the truth}: what is one alert."""
    stories = collections.defaultdict(list)
    for row in truth:
        minute = (int(row["start_ns"]) // S - BEGIN_S - WARM_S) // 60
        stories[DEVICES[row["device_id"]], row["metric"], minute].append(row)
    return stories


def story_of(line):
    # A silence begins with the last reading, which is before the first one that did not come.
    onset_s = int(line["onset_ns"]) // S + (2 if line["kind"] == "silence" else 0)
    return line["place"], line["metric"] or "", (onset_s - BEGIN_S - WARM_S) // 60


def check_life(steps, rows):
    """Of one alert: its steps in order, against the anomalies that it is of."""
    silent = rows[0]["kind"] == "silence"
    lasting = silent and int(rows[0]["end_ns"]) > (BEGIN_S + WARM_S + STORY_S - 5) * S
    states = [line["status"] for line in steps]
    assert states[0] == "raised" and states.count("raised") == 1
    assert states.count("cleared") == (0 if lasting else 1) and (lasting or states[-1] == "cleared")
    assert states.count("escalated") == (1 if len(rows) >= 4 else 0)
    assert set(states) <= {"raised", "updated", "escalated", "cleared"}
    assert len({(line["onset_ns"], line["rule"], line["region"], line["type"]) for line in steps}) == 1
    assert (steps[0]["rule"], steps[0]["region"], steps[0]["type"]) == ("unheard" if silent else "unusual", "eu", "thermometer")
    assert (steps[0]["kind"] == "silence") == silent
    assert {line["device_id"] for line in steps} <= {row["device_id"] for row in rows}
    assert steps[-1]["devices"] == len(rows) or (lasting and steps[0]["devices"] == 1)
    begin_ns, end_ns = min(int(row["start_ns"]) for row in rows), max(int(row["end_ns"]) for row in rows)
    late_s = 10 if rows[0]["kind"] == "drift" else 1
    assert begin_ns - 1.5 * S <= int(steps[0]["onset_ns"]) <= begin_ns + late_s * S
    if not lasting:
        # A detector gets used to what lasts.
        over_ns = begin_ns if rows[0]["kind"] in ("level-shift", "drift") else end_ns
        assert over_ns < int(steps[-1]["event_ns"]) <= end_ns + 15 * S


def check_told(lines, truth):
    """Each anomaly of the truth is one alert, and there is no other."""
    alerts = collections.defaultdict(list)
    for line in sorted(lines, key=lambda line: int(line["version"])):
        alerts[line["alert_id"]].append(line)
    stories = {}
    for alert_id, steps in alerts.items():
        story = story_of(steps[0])
        assert story not in stories, f"two alerts of {story}"
        stories[story] = steps
    wanted = expected(truth)
    assert set(stories) == set(wanted)
    for story, rows in wanted.items():
        check_life(stories[story], rows)


def check_deliveries(deliveries, repeated):
    """By Idempotency-Key: each once, or, after a kill, the same again; the steps of an alert in order.  The lines."""
    bodies, newest = {}, collections.defaultdict(int)
    for d in deliveries:
        assert d.key == f"{d.line['alert_id']}-{d.line['version']}"
        assert d.key not in bodies or (repeated and bodies[d.key] == d.body)
        if d.key not in bodies:
            assert int(d.line["version"]) > newest[d.line["alert_id"]]
            newest[d.line["alert_id"]] = int(d.line["version"])
        bodies[d.key] = d.body
    return [json.loads(body) for body in bodies.values()]


def by_version(lines):
    return sorted(lines, key=lambda line: int(line["version"]))


def print_latency(deliveries):
    """From a reading's arrival at the gateway to the first word at the webhook."""
    ms = sorted((d.received_ns - int(d.line["arrival_ns"])) / 1e6 for d in deliveries
                if d.line["status"] == "raised" and d.line["kind"] != "silence")
    print(f"arrival to webhook: p50 {ms[len(ms) // 2]:.0f} ms, max {ms[-1]:.0f} ms of {len(ms)}")
    assert ms[0] > 0 and ms[-1] < 30_000


def notified(sink):
    told = []
    while not sink.notified.empty():
        told.append(sink.notified.get())
    return told


def check_notified(w, truth):
    """Somebody behind the Alertmanager is told of each alert once, and once that it is over."""
    wanted, told = 2 * len(expected(truth)) - 1, []

    def all_notified():
        told.extend(notified(w.sink))
        return len(told) >= wanted
    wait_for("the Alertmanager has notified of all", all_notified, PATIENCE_S)
    lines = w.webhook.told("raised", "cleared")
    assert sorted(told) == sorted(("firing" if line["status"] == "raised" else "resolved", line["alert_id"]) for line in lines)


def finish(w, killed):
    """What the whole story must have come to, at every receiver."""
    w.fold_all()
    truth = w.fleet.truth()
    assert len(truth) == len(STORY)
    wait_for("alerts are cleared", lambda: len(w.webhook.told("cleared")) >= len(expected(truth)) - 1, PATIENCE_S)
    wait_for("all is taken", lambda: w.aggregator.stats()["alerts_waiting"] == 0, PATIENCE_S)
    [open_one] = w.open_alerts()
    assert (open_one["place"], open_one["kind"], open_one["status"]) == ("hall-h", "silence", "raised")
    wait_for("the Alertmanager has what is open and nothing else", lambda: [
        a["labels"]["alert_id"] for a in w.alertmanager.alerts()] == [open_one["alert_id"]], PATIENCE_S)
    if not killed:
        check_notified(w, truth)
    w.stop()  # whatever was still to be told has been told now
    lines = check_deliveries(w.webhook.deliveries, repeated=killed)
    check_told(lines, truth)
    published = tap(w.aggregator.alerts_url)
    if killed:  # a projection of global.log: whoever takes over may write again what was not known to be written
        published = [line for n, line in enumerate(published) if line not in published[:n]]
    assert by_version(published) == by_version(lines)


def test_each_anomaly_is_told_once(whole):
    whole.tell(WARM_S)
    assert whole.webhook.deliveries == []
    whole.tell(STORY_S, *STORY, speed=20)
    finish(whole, killed=False)
    print_latency(whole.webhook.deliveries)


def test_also_when_region_aggregator_and_alertmanager_are_killed_on_the_way(whole):
    """The aggregator before it knows that a delivery was taken, so that it must be made again."""
    w = whole
    region, aggregator, alertmanager = w.region.regional, w.aggregator, w.alertmanager
    w.tell(WARM_S)
    fleet = w.fleet.send(STORY_S, *STORY, speed=10)
    for n, victims in ((1, [aggregator]), (4, [region]), (6, [region, aggregator]), (8, [aggregator, alertmanager]),
                       (11, [alertmanager]), (13, [region, aggregator, alertmanager]), (17, [aggregator])):
        killed = w.webhook.at_delivery(n, lambda: [v.kill() for v in victims])
        assert killed.wait(DEADLINE_S)
        for v in victims:
            v.start()
    assert_ended(fleet)
    for d in (region, aggregator):
        d.wait_ready()
    alertmanager.kill()  # with all that it was told
    alertmanager.start()
    finish(w, killed=True)
    assert len(w.webhook.deliveries) > len({d.key for d in w.webhook.deliveries})


# ---------------------------------------------------------------- what nobody must be told of

BACKLOG_S = 600  # how long ago it was


@pytest.fixture(scope="module")
def shifted_clock(tmp_path_factory):
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", library, "tests/system/shifted_clock.c"], cwd=daemons.ROOT, check=True)
    return library


def test_a_backlog_that_drains_tells_nobody_as_if_it_were_now(whole_of, shifted_clock):
    """A gateway that received it ten minutes ago, by its own clock; the region begins to read after that."""
    w = whole_of(clock="arrival", lateness="20min")
    gateway = w.region.gateway
    gateway.environment = {"LD_PRELOAD": str(shifted_clock), "CLOCK_SHIFT_S": str(-BACKLOG_S)}
    w.start(gateway)
    w.fleet.now_s = time.time_ns() // S - BACKLOG_S - 660
    assert_ended(w.fleet.send(600))
    assert_ended(w.fleet.send(60, "spike:temperature@10+3x100,device=a0", "spike:temperature@10+3x100,device=a1",
                              "spike:temperature@20+3x-100,device=b0", "level-shift:humidity@30+20x300,device=c0"))
    gateway.stop()
    gateway.environment = {}
    w.start()
    w.fold_all()

    w.fleet.now_s = time.time_ns() // S - 60
    w.tell(55, "spike:temperature@40+3x100,device=d0")
    wait_for("what is anomalous now is told", lambda: w.webhook.told("cleared"), PATIENCE_S)
    w.stop()
    past = [line for line in tap(w.aggregator.alerts_url) if line["status"] == "past"]
    # Those of one place may be one or two: there is nothing open that the second could join.
    assert {(line["place"], line["metric"], line["direction"]) for line in past} == {
        ("hall-a", "temperature", "up"), ("hall-b", "temperature", "down"), ("hall-c", "humidity", "up")}
    assert sum(line["devices"] for line in past) == 4
    assert {line["place"] for line in w.webhook.told(*STATUSES)} == {"hall-d"}
    assert set(notified(w.sink)) <= {(status, line["alert_id"]) for status in ("firing", "resolved") for line in w.webhook.told("raised")}
    log = w.aggregator.log.read_text().splitlines()
    [summary] = [line for line in log if "a backlog had anomalies" in line]
    assert f"alerts={len(past)} " in summary
    assert not [line for line in log if "alert past" in line]


# ---------------------------------------------------------------- who looks after it

def test_what_somebody_looks_after_does_not_escalate_also_after_a_restart(whole):
    lasting = ["silence@0+1000,device=f0", "silence@0+1000,device=h0"]
    whole.tell(WARM_S)
    whole.tell(20, *lasting)
    wait_for("both are raised", lambda: len(whole.webhook.told("raised")) == 2, PATIENCE_S)
    looked_after, other = sorted(whole.open_alerts(), key=lambda line: line["place"])
    assert (looked_after["place"], other["place"]) == ("hall-f", "hall-h")
    sluice("alerts", "ack", looked_after["alert_id"], "--by", "Edda", "--note", "on my way", "--config", whole.aggregator.config_file)
    [told] = wait_for("everybody is told", lambda: whole.webhook.told("acknowledged"), PATIENCE_S)
    assert (told["alert_id"], told["by"], told["note"]) == (looked_after["alert_id"], "Edda", "on my way")

    whole.aggregator.restart()
    assert {(line["place"], line["status"], line["by"]) for line in whole.open_alerts()} == {
        ("hall-f", "acknowledged", "Edda"), ("hall-h", "raised", None)}
    whole.tell(90, *lasting)
    wait_for("the other one escalates", lambda: whole.webhook.told("escalated"), PATIENCE_S)
    table = sluice("alerts", "--config", whole.aggregator.config_file)
    assert "by Edda" in table and "escalated" in table
    whole.stop()
    assert [(line["alert_id"], line["severity"]) for line in whole.webhook.told("escalated")] == [(other["alert_id"], "critical")]
    assert len(whole.webhook.deliveries) == 4
