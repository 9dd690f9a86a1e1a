#!/usr/bin/env python3
"""Sends the lines of standard input to HOST PORT, and each again until it is acknowledged.

At least once: a connection that ends without a reply means "unknown", so the line is sent again and may
be in the log twice. `client send -id` numbers lines, so that a reader can tell.
"""
import collections, os, select, socket, sys, time

WINDOW = 1000  # lines without a reply, at most
TIMEOUT = 10  # seconds in which a reply has to come


class Input:
    """The lines of standard input, as they come."""

    def __init__(self):
        self.data, self.ended = b"", False

    def read(self):
        data = os.read(0, 65536)
        self.ended = not data
        self.data += data

    def lines(self, most):
        """Takes at most so many whole lines. At the end of the input, its rest is a line."""
        *lines, rest = self.data.split(b"\n", most)
        if self.ended and rest and len(lines) < most:
            lines, rest = lines + [rest], b""
        self.data = rest
        return [line + b"\n" for line in lines]

    def is_over(self):
        return self.ended and not self.data


def exchange(server, source, waiting):
    """Sends and receives until every line has a reply. `waiting` has the lines without one, in order."""
    server.sendall(b"".join(waiting))
    replies = b""
    while waiting or not source.is_over():
        lines = source.lines(WINDOW - len(waiting))
        waiting.extend(lines)
        server.sendall(b"".join(lines))
        # Replies are read while no input comes, and input is read while no reply comes.
        has_room = len(waiting) < WINDOW and not source.ended
        ready, _, _ = select.select([server, 0] if has_room else [server], [], [], TIMEOUT if waiting else None)
        if 0 in ready:
            source.read()
        if server in ready:
            data = server.recv(65536)
            if not data:
                raise OSError("the connection ended: lines without a reply may be in the log or not")
            *whole, replies = (replies + data).split(b"\n")
            for reply in whole:
                if not waiting:
                    raise OSError("a reply to no line")
                if reply.startswith(b"error too-long"):
                    print("refused:", waiting[0], file=sys.stderr)
                elif reply != b"ok":
                    raise OSError(reply.decode(errors="replace"))
                waiting.popleft()
        if not ready:
            raise OSError("no reply: lines may be in the log or not")


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    source, waiting = Input(), collections.deque()
    while waiting or not source.is_over():
        try:
            with socket.create_connection((host, port), timeout=TIMEOUT) as server:
                exchange(server, source, waiting)
        except OSError as why:
            print("trying again:", why, file=sys.stderr)
            time.sleep(0.2)


main()
