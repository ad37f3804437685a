//! End-to-end tests: the real binary, real signals, real clients.

mod boot;
mod control;
mod crash;
mod drain;
mod exec;
mod files;
mod grpc;
mod harness;
mod http;
mod http2;
mod identity;
mod layers;
mod meddle;
mod pools;
mod promises;
mod proxy;
mod reload;
mod resources;
mod scoreboard;
mod shared;
mod signals;
mod stop;
mod tcp;
mod tls;
mod tools;
mod upgrade;
