"""hypercorn on an inherited socket, whose number is the argument, without the race at its end."""

import asyncio
import signal
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

from app import app

# How long a connection that was just accepted has to say what it wants, in seconds.
PAUSE = 0.2


async def main(fd):
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)

    async def leave():
        await told.wait()
        # Nobody looks at the socket here any more: what comes is accepted by others.
        loop.remove_reader(fd)
        await asyncio.sleep(PAUSE)

    config = Config()
    config.bind = [f"fd://{fd}"]
    config.backlog = 4096
    config.graceful_timeout = 25
    await serve(app, config, shutdown_trigger=leave)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
