#!/usr/bin/env python3
"""Sends the lines of standard input to HOST PORT, and each again until it is acknowledged.

At least once: a connection that ends without a reply means "unknown", so the line is sent again and may
be in the log twice. `client send -id` numbers lines, so that a reader can tell.
"""
import collections, socket, sys, time

host, port, window = sys.argv[1], int(sys.argv[2]), 1000
waiting, ended = collections.deque(), False
while not ended or waiting:
    try:
        with socket.create_connection((host, port), timeout=10) as s:
            replies = s.makefile("rb")
            s.sendall(b"".join(waiting))  # what was not acknowledged, in order
            while not ended or waiting:
                while not ended and len(waiting) < window:
                    line = sys.stdin.buffer.readline()
                    if not line:
                        ended = True
                        break
                    waiting.append(line.rstrip(b"\n") + b"\n")
                    s.sendall(waiting[-1])
                if waiting:
                    reply = replies.readline()
                    if reply.startswith(b"error too-long"):
                        print("refused:", waiting[0], file=sys.stderr)
                    elif reply != b"ok\n":
                        raise OSError(reply or "no reply: the line may be in the log or not")
                    waiting.popleft()
    except OSError as why:
        print("trying again:", why, file=sys.stderr)
        time.sleep(0.2)
