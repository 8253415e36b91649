"""`sluice detect` as its users run it: on files, pipes and growing files, with Python's csv and datetime as the oracle."""
import csv
import datetime
import io
import math
import os
import pathlib
import pty
import random
import re
import selectors
import signal
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "bin/sluice"
START = 1392388020  # 2014-02-14 14:27:00 UTC
PATIENCE_S = 30


def run(*arguments, text=None):
    """Exit code, stdout, stderr."""
    feed = {"stdin": subprocess.DEVNULL} if text is None else {"input": text if isinstance(text, bytes) else text.encode()}
    done = subprocess.run([SLUICE, "detect", *arguments], capture_output=True, timeout=120, **feed)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def detect(*arguments, text=None):
    """Exit code, rows as dictionaries, stderr."""
    code, out, err = run(*arguments, text=text)
    return code, list(csv.DictReader(io.StringIO(out, newline=""))), err


def on_terminal(*arguments):
    """What a person sees."""
    master, slave = pty.openpty()
    child = subprocess.Popen([SLUICE, "detect", *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    text = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        text += piece
    os.close(master)
    assert child.wait(PATIENCE_S) == 0, child.stderr.read()
    child.stderr.close()
    return text.decode().replace("\r\n", "\n")


def wave(n, spike_at=None, start=START, step_s=60):
    """(seconds, value): a noisy wave, with one value far outside where asked for."""
    r = random.Random(7)
    return [(start + i * step_s, round(20 + math.sin(i / 30) + r.gauss(0, 0.1) + 60 * (i == spike_at), 3)) for i in range(n)]


def as_csv(rows, header="time,value\n"):
    return header + "".join(f"{t},{v}\n" for t, v in rows)


@pytest.fixture
def spiked(tmp_path):
    file = tmp_path / "spiked.csv"
    file.write_text(as_csv(wave(2000, spike_at=1500)))
    return file


# ---------------------------------------------------------------- the table


def test_each_row_gives_a_row_and_the_spike_one_alert():
    rows = wave(2000, spike_at=1500)
    code, found, err = detect(text=as_csv(rows))
    assert (code, err) == (0, "")
    assert [(r["time"], r["value"]) for r in found] == [(str(t), str(v)) for t, v in rows]
    shortest = [re.sub(r"\.0$|(?<=e-)0", "", repr(float(r["score"]))) for r in found]
    assert [re.sub("(?<=e-)0", "", r["score"]) for r in found] == shortest
    assert all(0 <= float(r["score"]) <= 1 for r in found)
    assert [int(r["alert"]) for r in found].index(1) == 1500
    assert found[1500]["kind"] not in ("", "none")


def test_what_cannot_be_used_is_passed_over_and_reported():
    text = "time,value\n1392388020,1\n1392388080,\n1392388090,NaN\nyesterday,3\n1392388020,4\n1392388010,5\n1392388100,6\n"
    code, found, err = detect(text=text)
    assert code == 0 and len(found) == 7
    assert err.splitlines() == [
        'sluice detect: stdin: passed over 1 row without a time in the first column (first in line 5: "yesterday")',
        'sluice detect: stdin: passed over 2 rows without a number in the second column (first in line 3: "")',
        'sluice detect: stdin: passed over 1 row older than a row before (first in line 7: "1392388010")',
        'sluice detect: stdin: passed over 1 row with the same time as the row before (first in line 6: "1392388020")',
    ]


def test_a_file_with_the_newest_first_is_told_to_be_sorted():
    code, found, err = detect(text="time,value\n" + "".join(f"{1392388020 - i},1\n" for i in range(100)))
    assert code == 0 and len(found) == 100
    assert err.splitlines()[-1] == "sluice detect: stdin is not in the order of time: sort it by its first column"


def test_a_gap_in_a_file_was_silence_and_its_row_says_so(tmp_path):
    rows = [(t + (6 * 3600 if i >= 1500 else 0), v) for i, (t, v) in enumerate(wave(2000))]
    file = tmp_path / "gap.csv"
    file.write_text(as_csv(rows))
    code, found, err = detect(file)
    assert code == 0 and len(found) == 2000 and not err
    assert [(i, r["kind"]) for i, r in enumerate(found) if r["alert"] == "1"] == [(1500, "silence")]
    [line] = [line for line in on_terminal(file).splitlines() if "silence" in line]
    assert line.endswith("silence since 2014-02-15 15:26:00  6 h 1 min")


FORMS = {
    "milliseconds": lambda t: str(t * 1000),
    "microseconds": lambda t: str(t * 10 ** 6),
    "nanoseconds": lambda t: str(t * 10 ** 9),
    "fraction": lambda t: f"{t}.000",
    "iso": lambda t: datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S"),
    "zulu": lambda t: datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    "offset": lambda t: datetime.datetime.fromtimestamp(t, datetime.timezone(datetime.timedelta(hours=5, minutes=30))).isoformat(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_time_means_the_same_in_every_form(form):
    rows = wave(1000, spike_at=700)
    expected = [r["score"] for r in detect(text=as_csv(rows))[1]]
    code, found, err = detect(text=as_csv([(FORMS[form](t), v) for t, v in rows]))
    assert (code, err) == (0, "")
    assert [r["score"] for r in found] == expected
    assert [r["time"] for r in found] == [FORMS[form](t) for t, _ in rows]


@pytest.mark.parametrize("shape", ["crlf", "bom", "no header", "more columns", "quoted", "tab", "semicolon, decimal comma"])
def test_a_file_means_the_same_in_every_shape(shape):
    rows = wave(1000, spike_at=700)
    plain = detect(text=as_csv(rows))[1]
    separator = {"tab": "\t", "semicolon, decimal comma": ";"}.get(shape, ",")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n" if shape == "crlf" else "\n",
                        quoting=csv.QUOTE_ALL if shape == "quoted" else csv.QUOTE_MINIMAL)
    more = ["x", "a\nb"] if shape == "more columns" else []
    if shape != "no header":
        writer.writerow(["Zeit", "Wert", *more])
    for t, v in rows:
        writer.writerow([t, str(v).replace(".", ",") if shape.startswith("semi") else v, *more])
    code, found, err = detect(text=("\ufeff" if shape == "bom" else "") + text.getvalue())
    assert (code, err) == (0, "")
    assert [r["score"] for r in found] == [r["score"] for r in plain]
    assert [r["value"].replace(",", ".") for r in found] == [r["value"] for r in plain]


def test_explained_rows_have_the_band_and_alerts_a_sentence():
    code, found, _ = detect("--explain", text=as_csv(wave(2000, spike_at=1500)))
    assert code == 0
    assert list(found[0]) == ["time", "value", "score", "alert", "kind", "expected", "low", "high", "why"]
    assert all(float(r["low"]) <= float(r["expected"]) <= float(r["high"]) for r in found)
    assert {bool(r["why"]) == (r["alert"] == "1") for r in found} == {True}
    spike = found[1500]
    assert spike["why"].startswith(spike["kind"] + ": ") and "by itself" in spike["why"]
    assert spike["value"][:5] in spike["why"]


def test_more_false_alarms_allowed_are_more_alerts():
    text = as_csv(wave(5000))
    alerts = [sum(int(r["alert"]) for r in detect("--false-alarms-per-week", rate, text=text)[1]) for rate in ("1e-9", "1000")]
    assert alerts[0] == 0 < alerts[1]


@pytest.mark.parametrize("text, says", [
    ("", "has no rows"),
    ("time,value\n", "has no rows"),
    ("time,value\nyesterday,5\n", 'Line 2 is one without a time in the first column: "yesterday"'),
    ("1\n2\n", "Line 1 is one without a number in the second column"),
    ("time,value\n1,2\n".encode("utf-16"), "is UTF-16"),
])
def test_a_file_without_a_usable_row_is_an_error_that_says_what_to_do(text, says):
    code, _, err = run(text=text)
    assert code == 1
    assert err.startswith("sluice detect: stdin ") and says in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments, code, says", [
    (["/nonexistent.csv"], 1, "sluice detect: /nonexistent.csv: No such file or directory"),
    (["/"], 1, "sluice detect: /: Is a directory"),
    (["--false-alarms-per-week", "0", "-"], 2, "expected a number from 1e-9 to 1000"),
    (["a", "b"], 2, "unexpected argument b"),
    (["--plot", "/nonexistent/a.svg", "-"], 1, "its folder /nonexistent: No such file"),
    (["--plot", "/tmp", "-"], 1, "/tmp is a folder: name a file"),
    (["--plot", "/dev/null", "-"], 1, "/dev/null is no ordinary file"),
])
def test_what_cannot_be_done_is_said(arguments, code, says):
    found = run(*arguments)
    assert found[:2] == (code, "")
    assert says in found[2]


# ---------------------------------------------------------------- the list


def test_a_person_gets_the_alerts(spiked):
    lines = on_terminal(spiked).splitlines()
    assert lines[0].split() == ["time", "(UTC)", "kind", "value", "expected", "score", "lasted"]
    moment = datetime.datetime.fromtimestamp(START + 1500 * 60, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    assert any(re.match(rf"{moment}  [a-z-]+ +above +{wave(1501, 1500)[1500][1]:.6g} ", line) for line in lines[1:-1])
    assert re.fullmatch(rf"2000 values, {len(lines) - 2} alerts, 2014-02-14 14:27:00 to 2014-02-15 23:46:00, "
                        r"expected false alarms at this setting: 0\.002", lines[-1])


def test_a_person_gets_reasons_and_may_have_the_table(spiked):
    lines = on_terminal("--explain", spiked).splitlines()
    assert any(re.match("    [a-z-]+: .* a series like this shows as much by itself .*\\.$", line) for line in lines)
    assert on_terminal("--csv", spiked) == run(spiked)[1]


# ---------------------------------------------------------------- as it comes


class Follower:
    """`sluice detect --follow`, line by line, each with a deadline."""

    def __init__(self, *arguments, **how):
        self.child = subprocess.Popen([SLUICE, "detect", "--follow", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
        self.selector, self.got = selectors.DefaultSelector(), b""
        self.selector.register(self.child.stdout, selectors.EVENT_READ)

    def line(self):
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self.got:
            assert self.selector.select(deadline - time.monotonic()), "no line in time"
            piece = os.read(self.child.stdout.fileno(), 65536)
            assert piece, self.child.stderr.read()
            self.got += piece
        line, self.got = self.got.split(b"\n", 1)
        return line.decode()

    def stop(self, number):
        self.child.send_signal(number)
        out, err = self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode, (self.got + out).decode(), err.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.selector.close()
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_growing_file_is_followed_row_by_row(tmp_path, number):
    file = tmp_path / "grows.csv"
    rows = wave(40)
    file.write_text(as_csv(rows[:10]))
    with Follower(file) as follower:
        assert follower.line() == "time,value,score,alert,kind"
        for t, v in rows[:10]:
            assert follower.line().startswith(f"{t},{v},")
        with file.open("a") as out:
            for t, v in rows[10:15]:
                out.write(f"{t},{v}\n")
                out.flush()
                assert follower.line().startswith(f"{t},{v},")
            out.write(f"{rows[15][0]},")  # half a row is none
            out.flush()
            out.write(f"{rows[15][1]}\n")
        assert follower.line().startswith(f"{rows[15][0]},{rows[15][1]},")
        assert follower.stop(number) == (0, "", "")


def test_another_file_in_its_place_is_followed_and_one_cut_short(tmp_path):
    file = tmp_path / "turns.csv"
    rows = wave(30)
    file.write_text(as_csv(rows[:10]))
    with Follower(file) as follower:
        for _ in range(11):
            last = follower.line()
        next_file = tmp_path / "next"
        next_file.write_text(as_csv(rows[10:20], header="Zeit;Wert\n").replace(",", ";"))
        next_file.rename(file)
        for t, v in rows[10:20]:
            last = follower.line()
            assert last.startswith(f"{t},{v},")
        file.write_text(as_csv(rows[20:22]))
        for t, v in rows[20:22]:
            last = follower.line()
            assert last.startswith(f"{t},{v},")
        assert follower.stop(signal.SIGTERM)[0] == 0


def test_a_pipe_is_followed_to_its_end():
    rows = wave(50)
    with Follower("-", stdin=subprocess.PIPE) as follower:
        follower.child.stdin.write(b"time,value\n")
        for t, v in rows:
            follower.child.stdin.write(f"{t},{v}\n".encode())
            follower.child.stdin.flush()
            if t == START:
                assert follower.line() == "time,value,score,alert,kind"
            assert follower.line().startswith(f"{t},{v},")
        follower.child.stdin.close()
        assert follower.child.wait(PATIENCE_S) == 0
        follower.child.stdin = None


def test_silence_is_one_row_and_ends_with_the_next_value(tmp_path):
    file = tmp_path / "silent.csv"
    start = time.time() - 3600
    rows = wave(200, start=int(start), step_s=10)  # the newest is half an hour old
    file.write_text(as_csv(rows))
    with Follower(file) as follower:
        for _ in range(201):
            follower.line()
        when, value, score, alert, kind = follower.line().split(",")
        assert (value, alert, kind) == ("", "1", "silence") and float(score) > 0.9
        assert abs(datetime.datetime.fromisoformat(when[:26]).replace(tzinfo=datetime.timezone.utc).timestamp() - time.time()) < 60
        # Values that come are heard; what is old when it comes is late, not silent.
        with file.open("a") as out:
            out.write(f"{rows[-1][0] + 10},20\n")
        assert follower.line().startswith(f"{rows[-1][0] + 10},20,")
        code, rest, err = follower.stop(signal.SIGINT)
        assert (code, rest, err) == (0, "", "")


def test_an_old_series_played_slowly_is_not_silent():
    rows = wave(60)
    with Follower("-", stdin=subprocess.PIPE) as follower:
        found = []
        for t, v in rows:
            follower.child.stdin.write(f"{t},{v}\n".encode())
            follower.child.stdin.flush()
            if t == START:
                follower.line()
            found.append(follower.line())
        assert not [line for line in found if line.endswith("silence")]


# ---------------------------------------------------------------- the picture

SVG = "{http://www.w3.org/2000/svg}"


def picture(file, *arguments):
    code, _, err = run("--plot", file, *arguments)
    assert (code, err) == (0, "")
    return ET.parse(file).getroot()


def boxes(svg):
    """Of the alerts' labels, with the letters' width that a browser would at least give them."""
    return [(float(t.get("x")) - len(t.text) * 2.5, float(t.get("x")) + len(t.text) * 2.5, float(t.get("y")))
            for t in svg.iter(SVG + "text") if t.get("class").startswith("label")]


def test_the_picture_is_whole_and_can_be_read_without_eyes(tmp_path, spiked):
    svg = picture(tmp_path / "out.svg", spiked)
    assert svg.tag == SVG + "svg" and svg.get("viewBox") and svg.get("role") == "img"
    assert svg.get("aria-labelledby").split() == [svg.find(SVG + "title").get("id"), svg.find(SVG + "desc").get("id")]
    alerts = [r for r in detect(spiked)[1] if r["alert"] == "1"]
    described = svg.find(SVG + "desc").text
    assert f"2000 values from 2014-02-14 14:27:00 to 2014-02-15 23:46:00 UTC" in described
    assert f"{len(alerts)} alert" in described and f"{alerts[0]['kind']} above at 2014-02-15 15:27:00" in described
    assert len([g for g in svg.iter(SVG + "g") if g.get("class") == "alert"]) == len(alerts)
    text = (tmp_path / "out.svg").read_text()
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"href|url\(|@import|@font-face|<script", text)
    assert {p.get("class") for p in svg.iter(SVG + "path")} >= {"series", "band", "scores", "loud", "threshold", "span"}
    assert [f.name for f in tmp_path.iterdir() if f.name.endswith(".next")] == []


def test_labels_of_many_alerts_do_not_overlap(tmp_path, spiked):
    found = boxes(picture(tmp_path / "out.svg", "--false-alarms-per-week", "1000", spiked))
    assert len(found) > 5
    for i, (from_, to, y) in enumerate(found):
        assert not [1 for from2, to2, y2 in found[:i] if y == y2 and from_ < to2 and to > from2]


def test_a_million_rows_make_a_picture_of_bounded_size_in_bounded_memory(tmp_path):
    big = tmp_path / "big.csv"
    r = random.Random(3)
    with big.open("w") as out:
        out.write("time,value\n")
        out.writelines(f"{START + i},{r.gauss(20, 1):.2f}\n" for i in range(1_000_000))
    child = subprocess.Popen([SLUICE, "detect", "--plot", tmp_path / "big.svg", big], stdout=subprocess.DEVNULL)
    usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(usage[1])
    assert child.returncode == 0
    assert (tmp_path / "big.svg").stat().st_size < 500_000
    assert usage[2].ru_maxrss < (64 << 10) or "san-" in str(SLUICE)  # KiB
    assert ET.parse(tmp_path / "big.svg").getroot().find(SVG + "desc").text.startswith("1000000 values")


def test_a_picture_that_is_there_is_replaced_also_behind_a_link(tmp_path, spiked):
    real, link = tmp_path / "real.svg", tmp_path / "link.svg"
    real.write_text("old")
    link.symlink_to(real)
    picture(link, spiked)
    assert link.is_symlink() and real.read_text().startswith("<svg")
