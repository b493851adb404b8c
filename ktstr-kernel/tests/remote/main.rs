//! Releases from a loopback server that misbehaves: what is fetched is right, and what goes wrong is said in one line.

#[path = "../support/server.rs"]
mod server;
mod tarballs;
mod world;
