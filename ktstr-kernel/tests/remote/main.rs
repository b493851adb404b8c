//! Releases from a loopback server that misbehaves: what is fetched is right, and what goes wrong is said in one line.

mod disk;
mod faults;
mod index;
mod kills;
#[path = "../support/mounted.rs"]
mod mounted;
mod proxies;
#[path = "../support/server.rs"]
mod server;
mod sharing;
mod tarballs;
mod tls;
mod world;
