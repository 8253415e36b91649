"""The messages against Python's protobuf runtime and against every released version: proto/README.md has the rules."""
import errno
import json
import math
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")).resolve()
SCHEMAS = ("telemetry.proto", "envelope.proto", "delta.proto")
RELEASED = sorted((ROOT / "proto/released").glob("v*.desc"))
GOLDEN = sorted(path.stem for path in (ROOT / "proto/released/golden").glob("*.bin"))


class Schema:
    """Message classes of one descriptor set, apart from all others."""

    def __init__(self, descriptor_set):
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
            self.pool.Add(file)

    def __getattr__(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"sluice.v1.{name}"))


def compile_schema(folder, to):
    subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={to}", *SCHEMAS], check=True)
    return Schema(pathlib.Path(to).read_bytes())


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """What proto/ says today."""
    return compile_schema(ROOT / "proto", tmp_path_factory.mktemp("proto") / "now.desc")


@pytest.fixture(scope="module")
def tomorrow(tmp_path_factory):
    """proto/ as it may become: each message that travels has grown."""
    folder = tmp_path_factory.mktemp("tomorrow")
    for name in SCHEMAS:
        text = (ROOT / "proto" / name).read_text()
        for message in ("Telemetry", "TelemetryEnvelope", "RegionData", "ConsolidatedEnvelope", "Window", "Notice"):
            text = re.sub(r"^message %s \{" % message,
                          r"\g<0>\n  string remark = 100;\n  repeated fixed64 more = 101;", text, flags=re.M)
        (folder / name).write_text(text)
    return compile_schema(folder, folder / "tomorrow.desc")


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    """Our C code as a function: codec("telemetry", hex) gives the filter's line."""
    program = tmp_path_factory.mktemp("filter") / "proto_filter"
    build = os.path.relpath(BUILD, ROOT)
    subprocess.run(["make", "-s", f"O={build}", f"{build}/libsluice.a"], cwd=ROOT, check=True)
    libraries = subprocess.run(["pkg-config", "--libs", "libzstd", "libprotobuf-c", "jansson", "libisal"], check=True,
                               capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-I.", "-Iuser", "-o", program, "tests/system/proto_filter.c",
                    f"{build}/libsluice.a", *libraries, "-lm"], cwd=ROOT, check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        def ask(kind, text):
            child.stdin.write(f"{kind} {text}\n")
            child.stdin.flush()
            return child.stdout.readline().rstrip("\n")
        yield ask
        child.stdin.close()


def golden(name):
    folder = ROOT / "proto/released/golden"
    return (folder / f"{name}.bin").read_bytes(), (folder / f"{name}.json").read_text()


def written(message):
    """As everyone writes it: metrics sorted bytewise, which protobuf's deterministic form does not promise."""
    if message.DESCRIPTOR.name != "Telemetry":
        return message.SerializeToString(deterministic=True)
    rest = type(message)()
    rest.CopyFrom(message)
    rest.ClearField("metrics")
    entries = [type(message)(metrics={name: message.metrics[name]}).SerializeToString()
               for name in sorted(message.metrics, key=str.encode)]
    return rest.SerializeToString() + b"".join(entries)


# ---------------------------------------------------------------- old bytes, new code

@pytest.mark.parametrize("name", GOLDEN)
def test_released_bytes_mean_what_they_meant(now, name):
    data, text = golden(name)
    message = getattr(now, name).FromString(data)
    assert message == json_format.Parse(text, getattr(now, name)())
    message.DiscardUnknownFields()
    assert written(message) == data


def test_every_message_that_stands_alone_has_an_example(now):
    inner = {"LogId", "SourcePosition", "Window", "Notice", "MetricShare"}
    names = {name for file in SCHEMAS for name in now.pool.FindFileByName(file).message_types_by_name}
    assert names - inner == set(GOLDEN)


@pytest.mark.parametrize("kind, name", [("telemetry", "Telemetry"), ("envelope", "TelemetryEnvelope"),
                                        ("region", "RegionData")])
def test_c_code_writes_released_bytes_again(codec, kind, name):
    data, _ = golden(name)
    assert codec(kind, data.hex()).split(" ")[0] == data.hex()


def test_c_code_says_of_a_released_reading_what_python_says(codec):
    data, text = golden("Telemetry")
    _, canonical, ours = codec("telemetry", data.hex()).split(" ", 2)
    expected = json.loads(text)
    expected["integrity_hash"] = f"{int(expected['integrity_hash']):016x}"  # our form: README
    assert json.loads(ours) == expected
    assert canonical == "1"


# ---------------------------------------------------------------- new bytes, old descriptor

@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["Telemetry", "TelemetryEnvelope", "RegionData", "ConsolidatedEnvelope"])
def test_released_descriptors_read_bytes_of_tomorrow(tomorrow, released, name):
    old = Schema(released.read_bytes())
    data, _ = golden(name)
    grown = getattr(tomorrow, name).FromString(data)
    grown.remark, grown.more[:] = "new", [1, 2]
    if name == "ConsolidatedEnvelope":
        grown.windows[0].remark = "new inside"
    new_bytes = grown.SerializeToString(deterministic=True)
    read = getattr(old, name).FromString(new_bytes)
    # Known fields are as they were; what is not known is still there when it is written again.
    assert getattr(tomorrow, name).FromString(read.SerializeToString()) == grown
    read.DiscardUnknownFields()
    assert read == getattr(old, name).FromString(data)


def test_c_code_reads_bytes_of_tomorrow(codec, tomorrow):
    data, _ = golden("Telemetry")
    reading = tomorrow.Telemetry.FromString(data)
    reading.remark, reading.more[:] = "new", [1, 2]
    new_bytes = reading.SerializeToString(deterministic=True)
    assert codec("telemetry", new_bytes.hex()).split(" ")[0] == new_bytes.hex()  # verbatim
    for kind, name in (("envelope", "TelemetryEnvelope"), ("region", "RegionData")):
        data, _ = golden(name)
        grown = getattr(tomorrow, name).FromString(data)
        grown.remark, grown.more[:] = "new", [1, 2]
        assert codec(kind, grown.SerializeToString().hex()) == data.hex()  # skipped


# ---------------------------------------------------------------- today's C code and Python's runtime

def random_value():
    kind = random.randrange(6)
    if kind == 0:
        return struct.unpack("<d", random.randbytes(8))[0] + 0.0  # never -0, which is read as 0
    if kind == 1:
        return random.choice((0.0, 1e22, -1e-9, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan))
    return round(random.uniform(-1000, 1000), random.randrange(5)) + 0.0


def random_reading(now):
    alphabet = "abcdefghij_.-°₂é"
    reading = now.Telemetry(device_id="".join(random.choices(alphabet, k=random.randrange(1, 11))),
                            region=random.choice(("", "eu-1", "ap-2")))
    if random.random() < 0.9:
        reading.timestamp_ns = random.choice((0, -1, 1163438041250000000, random.randrange(-2**63, 2**63)))
    for _ in range(random.randrange(10)):
        reading.metrics["".join(random.choices(alphabet, k=random.randrange(8)))] = random_value()
    return reading


def same_number(ours, python):
    return ours == python or (ours != ours and python != python)


def test_readings_of_python_are_read_as_python_reads_them(codec, now):
    seed = random.randrange(2**32)
    random.seed(seed)
    for _ in range(1500):
        reading = random_reading(now)
        data = reading.SerializeToString(deterministic=random.random() < 0.5)
        again, _, text = codec("telemetry", data.hex()).split(" ", 2)
        ours = json.loads(text)
        assert bytes.fromhex(again) == data, seed
        assert ours["device_id"] == reading.device_id and ours.get("region", "") == reading.region, seed
        assert int(ours.get("timestamp_ns", 0)) == reading.timestamp_ns, seed
        assert ("timestamp_ns" in ours) == reading.HasField("timestamp_ns"), seed
        assert set(ours["metrics"]) == set(reading.metrics), seed
        for name, value in ours["metrics"].items():
            assert same_number(float(value), reading.metrics[name]), (seed, name)


def test_json_of_python_gives_the_bytes_of_python(codec, now):
    seed = random.randrange(2**32)
    random.seed(seed)
    for _ in range(1500):
        reading = random_reading(now)
        for name, value in reading.metrics.items():
            if math.isnan(value):
                reading.metrics[name] = math.nan  # JSON knows only one
            if value == 0:
                reading.metrics[name] = 0.0
        names = random.random() < 0.5
        text = json_format.MessageToJson(reading, preserving_proto_field_name=names, indent=None)
        answer = codec("json", text)
        assert not answer.startswith("error"), (seed, text, answer)
        data = bytes.fromhex(answer)
        assert data[0] == 0x09 and data[9:] == written(reading), (seed, text)


def test_what_protobuf_would_merge_is_refused(codec, now):
    one = now.Telemetry(integrity_hash=1, timestamp_ns=2, device_id="a", region="r").SerializeToString()
    for twice in (one[:9], one[9:18], one[18:21], one[21:]):
        assert now.Telemetry.FromString(one + twice) is not None
        assert codec("telemetry", (one + twice).hex()) == f"error {errno.EBADMSG}"


# ---------------------------------------------------------------- buf

def buf_breaking(folder, released):
    return subprocess.run([pathlib.Path(sys.executable).parent / "buf", "breaking", folder, "--against",
                           f"{released}#format=binpb"], capture_output=True, text=True)


def copy_of_schemas(to):
    for name in SCHEMAS:
        shutil.copy(ROOT / "proto" / name, to)
    return to


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
def test_nothing_released_is_broken(tmp_path, released):
    done = buf_breaking(copy_of_schemas(tmp_path), released)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("before, after", [
    ("optional fixed64 integrity_hash = 1", "string integrity_hash = 1"),
    ("string region = 4", "string region = 6"),
    ("uint32 shard = 6", "uint64 shard = 6"),
    ("bytes sum = 6", "double sum = 6"),
    ("  string place = 4;", ""),
])
def test_a_broken_schema_would_be_noticed(tmp_path, before, after):
    copy_of_schemas(tmp_path)
    files = [path for path in tmp_path.glob("*.proto") if before in path.read_text()]
    assert len(files) == 1
    files[0].write_text(files[0].read_text().replace(before, after))
    done = buf_breaking(tmp_path, RELEASED[-1])
    assert done.returncode == 100 and files[0].name in done.stdout, done.stdout + done.stderr
