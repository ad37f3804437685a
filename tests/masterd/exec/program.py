"""A program that takes an inherited socket, and misbehaves in as many ways as a test asks for.

    program.py [WORD...]

Words, in any order: what it does before it serves, and how it ends.
    say=TEXT err=TEXT     prints a line to standard output, or error
    exit=N                ends with that status at once
    kill=NAME             ends by that signal at once
    wait=SECONDS          before it serves
    fork=N                so many children serve, and this process only watches
    leave                 a child serves, and this process ends with status 0
    notify=TEXT           sends that to NOTIFY_SOCKET when it serves (before it waits, with `early`);
                          \\n separates lines, %PID% is its own pid, %CHILD% that of its first child
    newline=FD            writes a newline there when it serves
    shut=FD               closes that descriptor
    alive=SECONDS         says WATCHDOG=1 that often, from the beginning
    die=SEAT:SECONDS      ends with status 9 so long after its start, if it has that seat
    fd=FD udp             the socket, if LISTEN_FDS does not tell; one for datagrams
    deaf                  never waits on its socket
    ignore                ignores TERM
    slow=SECONDS          that long from TERM to its end, in which it serves what it has
    bind=PORT             binds a port of its own
    slot                  counts requests in its slot

Paths that make it do something: /env /fds /pid /sleep?S /exit?N /stop /close /shutdown /leak?N /flood?BYTES
/listen?BACKLOG /notify?TEXT /fork /chain /unlink?PATH
"""
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse

WORDS = [word.partition("=") for word in sys.argv[1:]]
ASKED = {key: value for key, _, value in WORDS}
CHILDREN = []
ENDING = threading.Event()
OPEN = [0]


def notify(text):
    for name, pid in [("%PID%", os.getpid()), ("%CHILD%", CHILDREN[0] if CHILDREN else 0)]:
        text = text.replace(name, str(pid))
    text = text.replace("\\n", "\n")
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), address)


def sockets():
    if "fd" in ASKED:
        return [socket.socket(fileno=int(ASKED["fd"]))]
    assert os.environ.get("LISTEN_PID") == str(os.getpid()), "LISTEN_PID is not mine"
    return [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]


def count():
    if "slot" in ASKED:
        with mmap.mmap(int(os.environ["MASTERD_SLOT_FD"]), 7 * 4096) as slot:
            for word in (16, 17):
                (now,) = struct.unpack_from("=Q", slot, word * 8)
                struct.pack_into("=Q", slot, word * 8, now + 1)


def act(path, query, listeners):
    """What a path makes it do; the body."""
    if path == "/env":
        return "\n".join(f"{k}={v}" for k, v in os.environ.items())
    if path == "/fds":
        names = sorted(os.listdir("/proc/self/fd"), key=int)
        links = [(n, f"/proc/self/fd/{n}") for n in names]
        return "\n".join(f"{n} {os.readlink(link)}" for n, link in links if os.path.islink(link))
    if path == "/sleep":
        time.sleep(float(query))
    if path == "/exit":
        os._exit(int(query))
    if path == "/stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if path == "/close":
        for listener in listeners:
            os.close(listener.fileno())
            listener.detach()
        threading.Event().wait()
    if path == "/listen":
        listeners[0].listen(int(query))
    if path == "/shutdown":
        listeners[0].shutdown(socket.SHUT_RDWR)
    if path == "/leak":
        KEPT.extend(open("/dev/null") for _ in range(int(query)))
    if path == "/flood":
        piece = b"x" * 99 + b"\n"
        left = int(query)
        while left > 0:
            left -= os.write(2, piece * min(600, left // 100 + 1))
        os.write(2, b"the flood is over\n")
    if path == "/notify":
        notify(urllib.parse.unquote(query))
    if path == "/fork" and os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
    if path == "/chain" and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Each one lives shorter than a look around takes.
        for _ in range(5000):
            if os.fork() != 0:
                os._exit(0)
        os._exit(0)
    if path == "/unlink":
        os.unlink(query)
    return f"pid={os.getpid()} gen={os.environ.get('GENERATION', '?')} seat={os.environ.get('SEAT', '?')} mark=a"


KEPT = []


def converse(client, listeners):
    with client:
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                more = client.recv(65536)
                if not more:
                    return
                rest += more
            head, _, rest = rest.partition(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            path, _, query = target.partition("?")
            body = act(path, query, listeners).encode() + b"\n"
            count()
            closing = ENDING.is_set() or b"close" in head.lower()
            last = b"Connection: close\r\n" if closing else b""
            client.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (last, len(body), body))
            if closing:
                return


def conversation(client, listeners):
    OPEN[0] += 1
    try:
        converse(client, listeners)
    except OSError:
        pass
    OPEN[0] -= 1


def serve(listeners):
    if "udp" in ASKED:
        # It has nothing to finish: TERM ends it.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            data, peer = listeners[0].recvfrom(65536)
            listeners[0].sendto(data, peer)
    while not ENDING.is_set():
        try:
            ready, _, _ = select.select(listeners, [], [], 0.5)
        except (ValueError, OSError):
            threading.Event().wait()
        for listener in ready:
            try:
                listener.setblocking(False)
                client, _ = listener.accept()
            except OSError:
                continue
            client.setblocking(True)
            threading.Thread(target=conversation, args=(client, listeners), daemon=True).start()
    for listener in listeners:
        listener.close()
    end = time.monotonic() + float(ASKED.get("slow", "0"))
    while time.monotonic() < end or OPEN[0] and "slow" not in ASKED and time.monotonic() < end + 10:
        time.sleep(0.01)
    os._exit(0)


def every(seconds, act):
    def go():
        while True:
            time.sleep(seconds)
            act()

    threading.Thread(target=go, daemon=True).start()


def ready():
    if "notify" in ASKED:
        notify(ASKED["notify"])
    if "newline" in ASKED:
        os.write(int(ASKED["newline"]), b"\n")


def main():
    listeners = [] if "bind" in ASKED else sockets()
    for key, _, value in WORDS:
        if key in ("say", "err"):
            print(value, file=sys.stderr if key == "err" else sys.stdout, flush=True)
    if "exit" in ASKED:
        sys.exit(int(ASKED["exit"]))
    if "kill" in ASKED:
        os.kill(os.getpid(), getattr(signal, "SIG" + ASKED["kill"]))
    if "bind" in ASKED:
        own = socket.socket()
        own.bind(("127.0.0.1", int(ASKED["bind"])))
        own.listen()
        listeners = [own]
    if "ignore" in ASKED:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: ENDING.set())
    if "shut" in ASKED:
        os.close(int(ASKED["shut"]))
    if "alive" in ASKED:
        every(float(ASKED["alive"]), lambda: notify("WATCHDOG=1"))
    seat, _, seconds = ASKED.get("die", "").partition(":")
    if seat and seat == os.environ.get("SEAT"):
        every(float(seconds), lambda: os._exit(9))
    if "early" in ASKED:
        ready()
    time.sleep(float(ASKED.get("wait", "0")))
    for _ in range(int(ASKED.get("fork", "0")) + ("leave" in ASKED)):
        child = os.fork()
        if child == 0:
            if "leave" in ASKED:
                # Its parent is gone by then.
                time.sleep(0.5)
            serve(listeners)
        CHILDREN.append(child)
    if "early" not in ASKED:
        ready()
    if "leave" in ASKED:
        sys.exit(0)
    if "deaf" in ASKED:
        threading.Event().wait()
    if CHILDREN:
        while not ENDING.wait(0.05):
            pass
        for child in CHILDREN:
            os.kill(child, signal.SIGTERM)
        for child in CHILDREN:
            os.waitpid(child, 0)
        sys.exit(0)
    serve(listeners)


main()
