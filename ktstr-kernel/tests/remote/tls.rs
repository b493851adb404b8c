//! Servers with certificates, of an authority that is known or not.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ktstr_kernel::{Mirror, Release, Remote, RemoteOptions};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::Fault;
use crate::world::{INDEX, TARBALL, Told, World};

/// Adds encryption to a world's server, for one request a connection. It ends with the test process.
struct Tunnel {
    base: String,
    /// The certificate, to be trusted.
    certificate: PathBuf,
}

impl Tunnel {
    fn to(world: &World) -> Self {
        let host = Ipv4Addr::LOCALHOST.to_string();
        let made = rcgen::generate_simple_self_signed([host]).unwrap();
        let certificate = world.dir.path().join("certificate.pem");
        fs::write(&certificate, made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key));
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let server: SocketAddr = world.server.base()[7..].parse().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || relay(stream, config, server));
            }
        });
        Self { base, certificate }
    }

    fn remote(&self, world: &World, options: RemoteOptions) -> Remote {
        let mirror = Mirror::parse(&self.base).unwrap();
        Remote::new(mirror, world.cache(), options).unwrap()
    }
}

fn relay(stream: TcpStream, config: Arc<ServerConfig>, server: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(&head)?;
    io::copy(&mut server, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn a_server_of_a_known_authority_is_trusted() {
    let world = World::new();
    let tunnel = Tunnel::to(&world);
    let mut options = world.options.clone();
    options.certificates = Some(tunnel.certificate.clone());
    let remote = tunnel.remote(&world, options);
    world.server.fault(TARBALL, Fault::Truncate(1 << 20), 1);
    let told = Told::default();
    remote.releases(&told).unwrap();
    let tarball = remote.tarball(Release::parse("6.14.2").unwrap(), &told);
    assert!(tarball.unwrap().verified);
    assert!(!told.has("note"), "{}", told.all());
    let last = world.server.requests(TARBALL).pop().unwrap();
    assert_eq!(last.from, Some(1 << 20));
}

#[test]
fn a_server_of_an_unknown_authority_is_refused_at_once() {
    let world = World::new();
    let tunnel = Tunnel::to(&world);
    // With the system's certificates, and with another one.
    let strange = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(world.dir.path().join("strange.pem"), strange.cert.pem()).unwrap();
    for certificates in [None, Some(world.dir.path().join("strange.pem"))] {
        let mut options = world.options.clone();
        options.certificates = certificates;
        let told = Told::default();
        let error = tunnel.remote(&world, options).releases(&told).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("certificate") && !text.contains('\n'),
            "{text}"
        );
        assert!(text.contains("KTSTR_KERNEL_MIRROR"), "{text}");
        assert!(told.is_silent(), "{}", told.all());
        assert_eq!(world.server.count(), 0);
    }
    for (content, part) in [(None, "No such file"), (Some("x"), "no certificates in it")] {
        let file = world.dir.path().join("empty.pem");
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let mut options = world.options.clone();
        options.certificates = Some(file);
        let error = tunnel.remote(&world, options).releases(&Told::default());
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("empty.pem: ") && text.contains(part),
            "{text}"
        );
        assert!(text.contains("SSL_CERT_FILE"), "{text}");
    }
}

#[test]
fn an_encrypted_mirror_leads_nowhere_unencrypted() {
    let world = World::new();
    let tunnel = Tunnel::to(&world);
    let mut options = world.options.clone();
    options.certificates = Some(tunnel.certificate.clone());
    let to = format!("{}/elsewhere", world.server.base());
    world.server.put("/elsewhere", crate::world::index());
    world.server.fault(INDEX, Fault::Redirect(to), usize::MAX);
    let error = tunnel.remote(&world, options).releases(&Told::default());
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("it redirects to an address without https"),
        "{text}"
    );
    assert_eq!(world.server.requests("/elsewhere").len(), 0);
}
