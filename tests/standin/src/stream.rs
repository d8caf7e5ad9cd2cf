// SPDX-License-Identifier: MPL-2.0

//! A TCP connection, with TLS or without.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How a TLS server gets its certificate.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Made at the start, for `localhost` and `127.0.0.1`; see [`crate::Standin::certificate`].
    SelfSigned,
    /// Certificate chain and private key, as PEM text.
    Given { certificate: String, key: String },
}

impl Tls {
    /// The TLS configuration, and the certificate as PEM.
    pub(crate) fn config(&self) -> io::Result<(Arc<rustls::ServerConfig>, String)> {
        let (certificate, key) = match self {
            Tls::Given { certificate, key } => (certificate.clone(), key.clone()),
            Tls::SelfSigned => {
                let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
                let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
                (made.cert.pem(), made.signing_key.serialize_pem())
            }
        };
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        Ok((Arc::new(config), certificate))
    }
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Stream {
    pub fn new(socket: TcpStream, tls: Option<&Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        let _ = socket.set_nodelay(true);
        Ok(match tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let tls =
                    rustls::ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                Stream::Tls(Box::new(rustls::StreamOwned::new(tls, socket)))
            }
        })
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &mut tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(buffer),
            Stream::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}
