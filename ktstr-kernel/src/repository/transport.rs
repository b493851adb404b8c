//! Connections to repositories.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;

use super::address::Endpoint;
use super::meter::{Fault, Meter, Metered, Patient};
use super::{Repository, http, process};

/// Port of git daemons.
const PORT: u16 = 9418;

/// Something that speaks git. Its faults are in the meter.
pub(super) type Line = Box<dyn Transport + Send>;

/// Connects; `None` where that failed and the meter knows why.
pub(super) fn connect(repository: &Repository<'_>, meter: &Arc<Meter>) -> Option<Line> {
    let address = &repository.address;
    let limits = &repository.access.limits;
    match address.endpoint() {
        Endpoint::Web { tls } => Some(http::connect(address, tls, limits.connect, meter)),
        Endpoint::Daemon { host, port } => {
            let stream = dial(host, port, limits.connect, meter)?;
            let reader = Metered::new(stream.try_clone().ok()?, Arc::clone(meter));
            Some(Box::new(Connection::new(
                reader,
                Patient(stream),
                Protocol::V2,
                address.path().to_vec(),
                Some((host, port)),
                ConnectMode::Daemon,
                false,
            )))
        }
        Endpoint::Local | Endpoint::Ssh { .. } => {
            let (reader, writer) = process::start(repository, meter)?;
            Some(Box::new(Connection::new(
                Metered::new(reader, Arc::clone(meter)),
                Patient(writer),
                Protocol::V2,
                address.path().to_vec(),
                None::<(&str, _)>,
                ConnectMode::Process,
                false,
            )))
        }
    }
}

fn dial(host: &str, port: Option<u16>, wait: Duration, meter: &Meter) -> Option<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let fail = |error: std::io::Error| meter.fail(Fault::Network(format!("{host}: {error}")));
    let addresses = (bare, port.unwrap_or(PORT)).to_socket_addrs();
    let mut last = std::io::Error::other("no such host");
    for address in addresses.map_err(fail).ok()?.take(8) {
        match TcpStream::connect_timeout(&address, wait) {
            Ok(stream) => {
                let silence = Some(meter.silence);
                let bounded = stream.set_read_timeout(silence);
                let bounded = bounded.and_then(|()| stream.set_write_timeout(silence));
                return bounded.map_err(fail).map(|()| stream).ok();
            }
            Err(error) => last = error,
        }
    }
    fail(last);
    None
}
