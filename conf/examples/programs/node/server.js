// A server on an inherited socket, whose number is the argument; it loses no request when it is asked to end.
"use strict";
const http = require("node:http");
const net = require("node:net");

// How long connections that are idle wait for one more request, in milliseconds.
const PATIENCE = 1000;
let leaving = false;

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  if (leaving) response.setHeader("Connection", "close");
  response.end("hello from node\n");
});

server.listen({ fd: Number(process.argv[2]) }, 4096);

process.once("SIGTERM", () => {
  leaving = true;
  // That of net: it stops accepting and leaves connections alone. The process ends with the last of them.
  net.Server.prototype.close.call(server);
  setTimeout(() => server.closeIdleConnections(), PATIENCE);
});
