"""Packets that no socket would send: raw, with sources of the sender's choice. Run as a process of its own.

    floods.py udp ADDRESS PORT COUNT PER_SECOND SOURCE_NET     a datagram from each of COUNT sources
    floods.py syn ADDRESS PORT COUNT PER_SECOND SOURCE_NET     a connection attempt that nobody will finish

SOURCE_NET is the first part of the source addresses, as 127 or 10.9: the rest and the port vary.
"""

import socket
import struct
import sys
import time

BATCH = 50


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def sources(net, count):
    """Distinct (address, port): ports first, then addresses."""
    parts = [int(part) for part in net.split(".")]
    room = 4 - len(parts)
    base = int.from_bytes(bytes(parts + [0] * room), "big")
    ports = 60_000
    for number in range(count):
        host, port = divmod(number, ports)
        # The host never is 0 or the highest.
        yield (base + 2 + host).to_bytes(4, "big"), 1024 + port


def main():
    kind, address, port, count, rate, net = sys.argv[1:7]
    port, count, rate = int(port), int(count), int(rate)
    target = socket.inet_aton(address)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    begin = time.monotonic()
    failed = 0
    for number, (source, source_port) in enumerate(sources(net, count)):
        if kind == "udp":
            payload = b"flood of datagrams"
            # A checksum of zero is none (RFC 768).
            body = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
            protocol = socket.IPPROTO_UDP
        else:
            head = struct.pack("!HHLLBBHHH", source_port, port, number, 0, 5 << 4, 2, 65_535, 0, 0)
            pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
            body = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
            protocol = socket.IPPROTO_TCP
        # The kernel fills in length, identification and checksum; see raw(7).
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, source, target) + body
        try:
            raw.sendto(packet, (address, 0))
        except OSError:
            failed += 1
        if number % BATCH == 0:
            ahead = number / rate - (time.monotonic() - begin)
            if ahead > 0:
                time.sleep(ahead)
    print(f"{count - failed} sent, {failed} failed, {time.monotonic() - begin:.2f} s")


main()
