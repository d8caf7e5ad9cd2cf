// SPDX-License-Identifier: MPL-2.0

//! TLS for `wss://`: the system's certificate authorities, and the user's.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Error, Tls};

/// Longest certificate file that is read: many times what all authorities of the world take.
const LONGEST: u64 = 16 << 20;
const SET: &str =
    "Set it to a PEM file of certificate authorities, or of the server's own certificate";

/// What a `wss://` connection is made with. Reads the certificate files, if there are some.
pub fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |e: &dyn std::fmt::Display| Error::settings("TLS cannot be used", e.to_string());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?;
    let algorithms = provider.signature_verification_algorithms;
    let trust = if tls.insecure {
        Trust::Anybody
    } else {
        let (roots, leaves) = trusted(tls)?;
        let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Trust::Vouched { authorities: authorities.build().map_err(|e| unusable(&e))?, leaves }
    };
    let verifier = Arc::new(Verifier { trust, algorithms });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match identity(tls)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| {
            let what = "Property client-key: the key is not that of property client-certificate. Set both to PEM files that belong together";
            Error::settings(what, e.to_string())
        })?,
    }))
}

/// A PEM file of a property.
struct File<'a> {
    property: &'static str,
    path: &'a Path,
}

impl File<'_> {
    fn wrong(&self, what: &str, detail: &str) -> Error {
        let path = self.path.display();
        Error::settings(format!("Property {}: '{path}' {what}.", self.property), detail)
    }

    fn unusable(&self, set: &str, e: &dyn std::fmt::Display) -> Error {
        self.wrong(&format!("holds a certificate that cannot be used. {set}"), &e.to_string())
    }

    fn open(&self) -> Result<BufReader<std::io::Take<std::fs::File>>, Error> {
        let file = std::fs::File::open(self.path).map_err(|e| {
            self.wrong("cannot be read. Set it to a readable PEM file", &e.to_string())
        })?;
        Ok(BufReader::new(file.take(LONGEST)))
    }

    fn certificates(&self, set: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(self.open()?).collect();
        let all = all.map_err(|e| self.unusable(set, &e))?;
        if all.is_empty() {
            return Err(self.wrong(&format!("holds no certificate. {set}"), ""));
        }
        Ok(all)
    }
}

/// The authorities to trust, and single servers' own certificates.
fn trusted(tls: &Tls) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates of the system are not the user's trouble.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(path) = &tls.ca_certificate else { return Ok((roots, Vec::new())) };
    let file = File { property: "ca-certificate", path };
    let all = file.certificates(SET)?;
    for cert in &all {
        roots.add(cert.clone()).map_err(|e| file.unusable(SET, &e))?;
    }
    Ok((roots, all))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What the client shows of itself, where it is to.
fn identity(tls: &Tls) -> Result<Option<Identity>, Error> {
    let Some(path) = &tls.client_certificate else {
        let alone = "Property client-key: there is a key and no certificate. Set property client-certificate too.";
        return tls.client_key.as_ref().map_or(Ok(None), |_| Err(Error::settings(alone, "")));
    };
    let set =
        "Set it to a PEM file of the client's certificate and those between it and its authority";
    let chain = File { property: "client-certificate", path }.certificates(set)?;
    let (property, path) = match &tls.client_key {
        Some(path) => ("client-key", path),
        None => ("client-certificate", path),
    };
    let file = File { property, path };
    let key = PrivateKeyDer::from_pem_reader(file.open()?).map_err(|e| {
        let what = "holds no private key that can be read. Set property client-key to a PEM file with the certificate's key, without a password";
        file.wrong(what, &e.to_string())
    })?;
    Ok(Some((chain, key)))
}

type Signature = Result<HandshakeSignatureValid, rustls::Error>;

/// Which servers are believed to be who they say.
#[derive(Debug)]
enum Trust {
    /// Who is vouched for by an authority, or is in the user's file by its own certificate, as with
    /// curl.
    Vouched { authorities: Arc<WebPkiServerVerifier>, leaves: Vec<CertificateDer<'static>> },
    /// Property `insecure-tls`: whatever certificate the server shows is taken, one that cannot even
    /// be read too (X.509 v1).
    Anybody,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{Other, UnknownIssuer};
        let Trust::Vouched { authorities, leaves } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict = authorities.verify_server_cert(cert, chain, name, ocsp, now);
        match verdict {
            // Nobody vouches for it, or it is an authority itself; its time was looked at before.
            Err(rustls::Error::InvalidCertificate(UnknownIssuer | Other(_)))
                if leaves.iter().any(|l| l == cert) =>
            {
                verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        match self.trust {
            Trust::Anybody => Ok(HandshakeSignatureValid::assertion()),
            _ => verify_tls12_signature(message, cert, signature, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Signature {
        match self.trust {
            Trust::Anybody => Ok(HandshakeSignatureValid::assertion()),
            _ => verify_tls13_signature(message, cert, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
