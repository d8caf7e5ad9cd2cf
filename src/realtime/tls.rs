// SPDX-License-Identifier: MPL-2.0

//! TLS for `wss://`: the system's certificate authorities, and the user's.

use std::io::{BufReader, Read};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Error, ErrorKind, Tls};

/// Longest certificate file that is read: many times what all authorities of the world take.
const LONGEST: u64 = 16 << 20;
const SET: &str = "Set it to a PEM file of certificate authorities";

/// What a `wss://` connection is made with. Reads the certificate file, if there is one.
pub fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("TLS cannot be used", &e.to_string()))?;
    if tls.insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        return Ok(Arc::new(
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth(),
        ));
    }
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates of the system are not the user's trouble.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &tls.ca_certificate {
        let wrong = |what: &str, detail: &str| {
            let path = path.display();
            bad(&format!("Property ca-certificate: '{path}' {what}."), detail)
        };
        let file = std::fs::File::open(path)
            .map_err(|e| wrong("cannot be read. Set it to a readable PEM file", &e.to_string()))?;
        let mut added = 0;
        for cert in CertificateDer::pem_reader_iter(BufReader::new(file.take(LONGEST))) {
            let cert = cert.map_err(|e| e.to_string());
            if let Err(e) = cert.and_then(|c| roots.add(c).map_err(|e| e.to_string())) {
                return Err(wrong(&format!("holds a certificate that cannot be used. {SET}"), &e));
            }
            added += 1;
        }
        if added == 0 {
            return Err(wrong(&format!("holds no certificate. {SET}"), ""));
        }
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn bad(message: &str, detail: &str) -> Error {
    Error { kind: ErrorKind::Settings, message: message.to_owned(), detail: detail.to_owned() }
}

/// Property `insecure-tls`: whatever certificate the server shows is taken.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Whether the server has the key of the certificate that it shows.
type Signature = Result<HandshakeSignatureValid, rustls::Error>;

impl AnyCertificate {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.0.signature_verification_algorithms
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        verify_tls12_signature(message, cert, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        verify_tls13_signature(message, cert, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
