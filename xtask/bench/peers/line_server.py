"""A line log that acknowledges, as one writes it in Python: socketserver's threads and logging.

Usage: python3 line_server.py LOG PORT
"""

import logging
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        peer = "%s:%d" % self.client_address
        for line in self.rfile:
            message = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            logging.info("--%s recieved: %s", peer, message)
            self.wfile.write(b"ok\n")
            logging.info("--%s send: ok", peer)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    logging.basicConfig(
        filename=sys.argv[1],
        filemode="w",
        level=logging.INFO,
        format="%(levelname)s\t| %(asctime)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    with Server(("127.0.0.1", int(sys.argv[2])), Handler) as server:
        server.serve_forever()
