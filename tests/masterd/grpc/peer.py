"""Both ends of gRPC for tests: `peer.py server`, or `peer.py client ADDRESS CASE [CA]`.

Messages are bytes as they are: no schema, no compiler. A server says `listening PORT` and ends with its input.
A client does what its case says, prints what came of it, and fails with a traceback where that is wrong.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

MAX = 16 << 20
SIZES = [("grpc.max_receive_message_length", MAX), ("grpc.max_send_message_length", MAX)]


# ---- the server

active = 0
cancelled = 0
lock = threading.Lock()


def echo(request, context):
    for key, value in context.invocation_metadata():
        if key == "x-own":
            context.set_trailing_metadata((("x-back", value), ("x-back-bin", b"\0\1\xff")))
            context.send_initial_metadata((("x-first", value),))
    return request


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100% \u00fc")


def sleep(request, context):
    global active, cancelled
    gone = threading.Event()
    if not context.add_callback(gone.set):
        gone.set()
    with lock:
        active += 1
    over = gone.wait(float(request))
    with lock:
        active -= 1
        cancelled += over
    return b"slept"


def state(request, context):
    with lock:
        return b"%d %d" % (active, cancelled)


def count(request, context):
    for n in range(int(request)):
        yield b"%d" % n


def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def chat(requests, context):
    for request in requests:
        yield request.upper()


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        kinds = {
            "/test/Echo": grpc.unary_unary_rpc_method_handler(echo),
            "/test/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/test/Sleep": grpc.unary_unary_rpc_method_handler(sleep),
            "/test/State": grpc.unary_unary_rpc_method_handler(state),
            "/test/Count": grpc.unary_stream_rpc_method_handler(count),
            "/test/Total": grpc.stream_unary_rpc_method_handler(total),
            "/test/Chat": grpc.stream_stream_rpc_method_handler(chat),
        }
        return kinds.get(details.method)


def serve():
    pool = futures.ThreadPoolExecutor(max_workers=64)
    server = grpc.server(pool, handlers=(Service(),), options=SIZES + [("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("listening", port, flush=True)
    sys.stdin.read()
    server.stop(0).wait(5)


# ---- the client


def connect(address, ca):
    options = SIZES + [("grpc.use_local_subchannel_pool", 1)]
    if not ca:
        return grpc.insecure_channel(address, options=options)
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options.append(("grpc.ssl_target_name_override", "a.example"))
    return grpc.secure_channel(address, credentials, options=options)


def word():
    """Waits until the test goes on."""
    return sys.stdin.readline()


def say(*words):
    print(*words, flush=True)


def all_kinds(channel):
    echo = channel.unary_unary("/test/Echo")
    answer, call = echo.with_call(b"hello", timeout=10, metadata=(("x-own", "v1"), ("x-own-bin", b"\0\1")))
    assert answer == b"hello", answer
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert first.get("x-first") == "v1" and last.get("x-back") == "v1", (first, last)
    assert last.get("x-back-bin") == b"\0\1\xff", last
    numbers = list(channel.unary_stream("/test/Count")(b"1000", timeout=10))
    assert numbers == [b"%d" % n for n in range(1000)], len(numbers)
    parts = (b"x" * 1000 for _ in range(500))
    assert channel.stream_unary("/test/Total")(parts, timeout=10) == b"500000"
    back = list(channel.stream_stream("/test/Chat")((b"m%d" % n for n in range(500)), timeout=10))
    assert back == [b"M%d" % n for n in range(500)], len(back)
    large = bytes(range(256)) * (4 << 12)
    assert len(large) == 4 << 20
    assert echo(large, timeout=10) == large
    assert echo(b"", timeout=10) == b""


def in_turns(channel):
    """Each message is sent when the one before has come back: both directions at once."""
    ready, box = threading.Semaphore(0), []

    def sending():
        while True:
            ready.acquire()
            if not box:
                return
            yield box.pop()

    answers = channel.stream_stream("/test/Chat")(sending(), timeout=20)
    for n in range(200):
        box.append(b"turn %d" % n)
        ready.release()
        assert next(answers) == b"TURN %d" % n
    ready.release()
    assert list(answers) == []


def failures(channel):
    for method, code in (("/test/Fail", grpc.StatusCode.FAILED_PRECONDITION), ("/test/None", grpc.StatusCode.UNIMPLEMENTED)):
        try:
            channel.unary_unary(method)(b"", timeout=10)
            raise AssertionError(method)
        except grpc.RpcError as error:
            assert error.code() == code, error
            if method == "/test/Fail":
                assert error.details() == "not like this: 100% \u00fc", error
                assert dict(error.trailing_metadata())["x-why"] == "because", error


def deadline(channel):
    assert channel.unary_unary("/test/Echo")(b"", timeout=10) == b""
    begun = time.monotonic()
    try:
        channel.unary_unary("/test/Sleep")(b"30", timeout=0.5)
        raise AssertionError("no deadline")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert time.monotonic() - begun < 5
    while time.monotonic() - begun < 10:
        # The server hears of it, too.
        state = channel.unary_unary("/test/State")(b"", timeout=10).split()
        if state == [b"0", b"1"]:
            return
        time.sleep(0.005)
    raise AssertionError(state)


def parallel(channel):
    sleep = channel.unary_unary("/test/Echo")
    calls = [sleep.future(b"call %d" % n, timeout=20) for n in range(200)]
    for n, call in enumerate(calls):
        assert call.result() == b"call %d" % n


def asleep(channel):
    call = channel.unary_unary("/test/Sleep").future(b"30", timeout=60)
    say("open")
    word()
    call.cancel()


def stream(channel):
    """A stream that is kept open from one word to the next, and says how it ended."""
    queue, ready = [], threading.Semaphore(0)

    def sending():
        while True:
            ready.acquire()
            if not queue:
                return
            yield queue.pop()

    answers = channel.stream_stream("/test/Chat")(sending(), timeout=60)
    try:
        while True:
            queue.append(b"x")
            ready.release()
            assert next(answers) == b"X"
            say("open")
            if word().strip() != "more":
                break
        ready.release()
        assert list(answers) == []
    except grpc.RpcError:
        pass
    say(answers.code().name, answers.details())


def waiting(channel):
    """A stream that only listens."""
    ready = threading.Event()

    def sending():
        yield b"x"
        ready.wait(60)

    answers = channel.stream_stream("/test/Chat")(sending(), timeout=60)
    assert next(answers) == b"X"
    say("open")
    try:
        assert list(answers) == []
    except grpc.RpcError:
        pass
    ready.set()
    say(answers.code().name, answers.details())


def load(channel):
    """Unary calls without end; none may fail. gRPC itself may send again what it knows to have never been sent."""
    stop, made, failed = threading.Event(), [0], []

    def run():
        echo = channel.unary_unary("/test/Echo")
        while not stop.is_set():
            try:
                assert echo(b"load", timeout=20) == b"load"
                made[0] += 1
            except grpc.RpcError as error:
                failed.append(f"{error.code().name}: {error.details()}")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    while made[0] < 20 and not failed:
        time.sleep(0.005)
    say("open")
    word()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[:5]
    say("made", made[0])


CASES = {
    case.__name__: case
    for case in (all_kinds, in_turns, failures, deadline, parallel, asleep, stream, waiting, load)
}

if sys.argv[1] == "server":
    serve()
else:
    with connect(sys.argv[2], sys.argv[4] if len(sys.argv) > 4 else None) as made:
        CASES[sys.argv[3]](made)
    say("done")
