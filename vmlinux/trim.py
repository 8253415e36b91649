#!/usr/bin/env python3
"""Writes vmlinux.h: of a kernel's types only those that bpf/ uses.

  bpftool btf dump file /sys/kernel/btf/vmlinux format c | vmlinux/trim.py > vmlinux/vmlinux.h

A declaration of the dump is a paragraph; it is kept when it declares one of NAMES.  What is kept refers to nothing
that is not, or the compiler says what to add here.
"""
import re
import sys

NAMES = """
__u8 __s8 __u16 __s16 __u32 __s32 __u64 __s64 __be16 __be32 __be64 __sum16 __wsum
bpf_map_type xdp_action BPF_F_MMAPABLE
xdp_md ethhdr vlan_hdr in6_addr iphdr ipv6hdr udphdr
""".split()

HEAD = """\
/* Types of the kernel that bpf/ uses, from its BTF.  Made by trim.py; README.md beside it has the command. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
"""
TAIL = "\n#endif"


def main():
    paragraphs = [p.strip("\n") for p in sys.stdin.read().split("\n\n")]
    kept = []
    for name in NAMES:
        shapes = (rf"^(struct|enum|union) {name} {{", rf"^typedef .*\b{name};", rf"^\t{name} = ")
        for shape in shapes:
            found = [p for p in paragraphs if re.search(shape, p, re.M)]
            if found:
                kept.append(found[0])
                break
        else:
            sys.exit(f"trim.py: this kernel's BTF has no {name}")
    order = {p: i for i, p in reversed(list(enumerate(paragraphs)))}
    kept = sorted(set(kept), key=order.get)
    print(HEAD + "\n" + "\n\n".join(kept) + TAIL)


if __name__ == "__main__":
    main()
