"""A server on the socket that it inherits; it loses no request when it is asked to end."""

import http.server
import os
import signal
import socket
import socketserver
import threading

leaving = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds of silence that a connection is granted
    wbufsize = -1  # head and body go out together

    def do_GET(self):
        body = b"hello from socketserver\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False  # they are waited for at the end


def inherited():
    """The one socket that whoever started us has passed on (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("start me with one listening socket as descriptor 3")
    return socket.socket(fileno=3)


def main():
    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = inherited()

    def leave(*_):
        leaving.set()
        # It waits for the loop below, which this handler interrupts: not from here.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, leave)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
