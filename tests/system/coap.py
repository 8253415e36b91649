"""CoAP and Telemetry by hand, from RFC 7252 and the published layout: independent of the code under test."""
import socket
import struct

from daemons import VECTORS

CON, NON, ACK, RST = range(4)
POST = 0x02


def option(delta, value):
    """One option; delta counts from the option before it."""
    def nibble(n):
        return (n, b"") if n < 13 else (13, bytes([n - 13])) if n < 269 else (14, struct.pack(">H", n - 269))
    d, d_more = nibble(delta)
    n, n_more = nibble(len(value))
    return bytes([d << 4 | n]) + d_more + n_more + value


def options(*pairs):
    out, last = b"", 0
    for number, value in sorted(pairs, key=lambda p: p[0]):
        out += option(number - last, value)
        last = number
    return out


PATH_T = (11, b"t")
FORMAT = (12, struct.pack(">H", 65001))


def message(payload, *, version=1, kind=CON, code=POST, mid=1, token=b"tk", opts=(PATH_T, FORMAT)):
    head = bytes([version << 6 | kind << 4 | len(token), code]) + struct.pack(">H", mid) + token
    return head + options(*opts) + (b"\xff" + payload if payload else b"")


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, wire, data):
    return varint(number << 3 | wire) + (varint(len(data)) if wire == 2 else b"") + data


def rest_of_telemetry(device="dev-1", timestamp_ns=1_700_000_000_000_000_000, region="", metrics=(("temperature", 21.5),)):
    """Fields 2 to 5, in order."""
    out = [field(2, 1, struct.pack("<q", timestamp_ns)), field(3, 2, device.encode())]
    if region:
        out.append(field(4, 2, region.encode()))
    for name, value in sorted(metrics, key=lambda m: m[0].encode()):
        out.append(field(5, 2, field(1, 2, name.encode()) + field(2, 1, struct.pack("<d", value))))
    return out


def telemetry(key=VECTORS.OPEN_KEY, hash_offset=0, **fields):
    """(payload, tag word 2). hash_offset makes the hash wrong."""
    rest = b"".join(rest_of_telemetry(**fields))
    word1, word2 = VECTORS.tag(key, rest)
    return field(1, 1, struct.pack("<Q", word1 ^ hash_offset)) + rest, word2


class Client:
    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, port))

    def ask(self, datagram, timeout=5.0):
        """Sends, and gives the answer as receive() does."""
        self.socket.send(datagram)
        answer = self.receive(timeout)
        assert answer is None or answer[5] <= len(datagram), "an answer is never larger than its request"
        return answer

    def receive(self, timeout):
        """(type, code text, mid, token, payload, size), or None when nothing comes."""
        self.socket.settimeout(timeout)
        try:
            answer = self.socket.recv(2048)
        except TimeoutError:
            return None
        token_len = answer[0] & 15
        rest = answer[4 + token_len:]
        payload = rest.split(b"\xff", 1)[1] if b"\xff" in rest else b""
        mid = struct.unpack(">H", answer[2:4])[0]
        return answer[0] >> 4 & 3, f"{answer[1] >> 5}.{answer[1] & 31:02d}", mid, answer[4:4 + token_len], payload, len(answer)
