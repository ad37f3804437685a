"""A server that counts its requests where `masterd status` looks for them: masterd-scoreboard(7).

`Slot` is all of the protocol. The rest is a server on an inherited socket that uses it.
"""

import http.server
import mmap
import os
import signal
import socket
import socketserver
import threading

# What a slot begins with, read as one word.
MAGIC = int.from_bytes(b"masterd\0", "little")
VERSION = 1
# Words of a slot that are written here.
ACCEPTED = 16
REQUESTS = 17
RESPONSES = 18  # 1xx; 2xx and so on follow
BYTES_OUT = 24
ERRORS = 25
ACTIVE = 32  # of class http
IDLE = 40
IN_FLIGHT = 41


class Slot:
    """Figures in the page that masterd has given to this program, or in vain if there is none."""

    def __init__(self):
        self.lock = threading.Lock()
        number = os.environ.get("MASTERD_SLOT_FD")
        if number is None:
            self.words = [0] * 512
            return
        # As eight bytes each, in the order of this machine; a store of one is a store of eight bytes.
        self.words = memoryview(mmap.mmap(int(number), 0)).cast("Q")
        os.close(int(number))
        if self.words[0] != MAGIC or self.words[1] != VERSION:
            raise SystemExit("the slot of MASTERD_SLOT_FD is of another layout: see masterd-scoreboard(7)")

    def add(self, word, n=1):
        """Adds to a counter or gauge. One writer at a time: the threads of this program take turns."""
        with self.lock:
            self.words[word] += n


slot = Slot()
leaving = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds of silence that a connection is granted
    wbufsize = -1  # head and body go out together

    def setup(self):
        super().setup()
        slot.add(ACCEPTED)
        slot.add(ACTIVE)

    def finish(self):
        slot.add(ACTIVE, -1)
        super().finish()

    def handle_one_request(self):
        slot.add(IDLE)
        self.waits = True
        try:
            super().handle_one_request()
        finally:
            slot.add(IDLE if self.waits else IN_FLIGHT, -1)

    def parse_request(self):
        self.waits = False
        slot.add(IDLE, -1)
        slot.add(IN_FLIGHT)
        slot.add(REQUESTS)
        return super().parse_request()

    def do_GET(self):
        body = b"hello\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        slot.add(BYTES_OUT, len(body))

    def send_response(self, code, message=None):
        super().send_response(code, message)
        slot.add(RESPONSES + code // 100 - 1)
        if code >= 500:
            slot.add(ERRORS)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False  # they are waited for at the end


def main():
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise SystemExit("start me with one listening socket as descriptor 3 (sd_listen_fds(3))")
    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)

    def leave(*_):
        leaving.set()
        # It waits for the loop below, which this handler interrupts: not from here.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, leave)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
