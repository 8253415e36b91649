"""A wire of the tests' own: a veth pair from a namespace for the fleet to a "NIC" that the gateway serves by XDP.

The NIC stays in this namespace, so that the gateway reaches a broker on loopback; the fleet's end has a namespace, so
that what it sends really crosses the wire.
"""
import functools
import os
import shutil
import subprocess

PORT = 5683


@functools.cache
def why_no_wire():
    """Why no veth with an XDP program can be had here; None when it can."""
    if os.geteuid() != 0:
        return "loading XDP needs root"
    tool = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin")
    if tool is None:
        return "bpftool, which knows, is not installed"
    probe = subprocess.run([tool, "feature", "probe", "kernel"], capture_output=True, text=True)
    if "eBPF program_type xdp is available" not in probe.stdout:
        return "this kernel refuses XDP programs"
    return None


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Wire:
    def __init__(self):
        n = os.getpid() % 250
        self.namespace, self.nic, self.far = f"sluice-t{n}", f"nic-t{n}", f"far-t{n}"
        self.address, self.far_address = f"198.18.{n}.2", f"198.18.{n}.1"

    def __enter__(self):
        self.__exit__()  # what a run that was killed has left
        ip("netns", "add", self.namespace)
        ip("link", "add", self.nic, "type", "veth", "peer", "name", self.far, "netns", self.namespace)
        ip("addr", "add", f"{self.address}/24", "dev", self.nic)
        ip("-n", self.namespace, "addr", "add", f"{self.far_address}/24", "dev", self.far)
        ip("link", "set", self.nic, "up")
        ip("-n", self.namespace, "link", "set", self.far, "up")
        return self

    def __exit__(self, *_):
        shutil.rmtree(f"/sys/fs/bpf/sluice/{self.nic}", ignore_errors=True)
        for words in (["link", "del", self.nic], ["netns", "del", self.namespace]):
            subprocess.run(["ip", *words], stderr=subprocess.DEVNULL)

    @property
    def url(self):
        return f"coap://{self.address}"

    @property
    def settings(self):
        """Of the gateway: {section: {name: value}}."""
        return {"gateway": {"listen": self.address, "port": PORT},
                "xdp": {"mode": "auto", "interface": self.nic, "on_stop": "detach", "durable_buckets": 65536}}

    def command(self, *words):
        """The words of a command that runs at the fleet's end."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, words)]
