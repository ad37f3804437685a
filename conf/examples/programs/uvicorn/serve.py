"""uvicorn on an inherited socket, whose number is the argument, without the race at its end."""

import asyncio
import sys

import uvicorn

# How long a connection that was just accepted has to say what it wants, in seconds.
PAUSE = 0.2


class Server(uvicorn.Server):
    async def shutdown(self, sockets=None):
        for server in self.servers:
            server.close()
        await asyncio.sleep(PAUSE)
        await super().shutdown(sockets)


if __name__ == "__main__":
    config = uvicorn.Config("app:app", fd=int(sys.argv[1]), backlog=4096, timeout_graceful_shutdown=25)
    Server(config).run()
