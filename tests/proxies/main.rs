// SPDX-License-Identifier: MPL-2.0

//! 9.17, 9.18: real proxies between the element and its server, from Debian: Squid, through which
//! the client connects, nginx, which ends the TLS and asks for the client's certificate, and HAProxy
//! before several servers.

#[path = "../chaos/element.rs"]
#[allow(dead_code)]
mod element;
mod haproxy;
#[path = "../chaos/speech.rs"]
#[allow(dead_code)]
mod speech;
#[path = "../support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use gst::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::*;
use vllm_standin::Standin;

/// A port that nobody has.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A program that listens at a port; it ends with the test.
struct Running(Child);

impl Running {
    fn new(program: &str, arguments: &[&str], port: u16) -> Running {
        let child = Command::new(program).args(arguments).spawn();
        let mut running =
            Running(child.unwrap_or_else(|e| panic!("{program}: {e}; scripts/setup.sh long")));
        let end = Instant::now() + DEADLINE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(running.0.try_wait().unwrap().is_none(), "{program} has ended");
            assert!(Instant::now() < end, "{program} does not listen");
            std::thread::yield_now();
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs as nobody where it would be root: Squid's own way.
fn squid(folder: &Path, port: u16) -> Running {
    let f = folder.display();
    // user:s3cret, as `openssl passwd` writes it.
    let hash = Command::new("openssl").args(["passwd", "-apr1", "s3cret"]).output().unwrap();
    let users = format!("user:{}", String::from_utf8(hash.stdout).unwrap());
    std::fs::write(folder.join("users"), users).unwrap();
    let config = format!(
        "http_port 127.0.0.1:{port}\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth {f}/users\n\
         acl known proxy_auth REQUIRED\n\
         acl closed dstdomain .closed.invalid\n\
         http_access deny closed\n\
         http_access allow known\n\
         http_access deny all\n\
         cache deny all\n\
         access_log stdio:{f}/access.log\n\
         cache_log {f}/cache.log\n\
         pid_filename none\n\
         coredump_dir {f}\n\
         shutdown_lifetime 0 seconds\n"
    );
    std::fs::write(folder.join("squid.conf"), config).unwrap();
    // It gives up root, and its folder must still be its own.
    let open = Command::new("chmod").args(["-R", "a+rwX", &f.to_string()]).status().unwrap();
    assert!(open.success());
    Running::new("/usr/sbin/squid", &["-N", "-f", &format!("{f}/squid.conf")], port)
}

#[test]
fn long_through_squid() {
    let folder = folder("squid");
    let port = port();
    let squid = squid(&folder, port);
    let server = server("through the proxy");
    let proxy = |user: &str| format!("http://{user}127.0.0.1:{port}");
    let by = |proxy: &str| {
        let proxy = proxy.to_owned();
        hear(&server.url(), move |e| e.set_property("proxy", proxy))
    };
    assert_eq!(by(&proxy("user:s3cret@")).unwrap(), ["through", "the", "proxy"]);
    let log = server.log();
    assert_eq!(log.connections.iter().filter(|c| c.started > 0).count(), 1);
    let models = log.connections.iter().any(|c| c.path.contains("/models"))
        || log.requests.iter().any(|r| r.contains("/models"));
    assert!(models, "the model's context is asked for through the proxy too: {:?}", log.requests);
    let told = std::fs::read_to_string(folder.join("access.log")).unwrap_or_default();
    assert!(told.contains("CONNECT"), "{told}");

    for user in ["", "user:wrong@"] {
        let e = by(&proxy(user)).unwrap_err();
        assert!(e.contains("proxy") && e.contains("USER:PASSWORD"), "{e}");
        assert!(!e.contains("wrong"), "{e}");
    }
    let e = hear("ws://server.closed.invalid:8000/v1/realtime", |e| {
        e.set_property("proxy", proxy("user:s3cret@"));
    });
    let e = e.unwrap_err();
    assert!(e.contains("lets nobody through") && !e.contains("s3cret"), "{e}");
    drop(squid);
    let e = hear(&server.url(), |e| {
        e.set_property("proxy", proxy("user:s3cret@"));
        e.set_property("reconnect", 0);
    });
    assert!(e.unwrap_err().contains("No proxy answers"));
}

/// An authority, and what it has signed.
struct Certificates {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new(folder: &Path) -> Certificates {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of the test");
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        Certificates { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// `NAME.pem`, `NAME.key`, and both in `NAME.both`.
    fn sign(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        let write = |end: &str, text: String| {
            std::fs::write(self.folder.join(format!("{file}.{end}")), text).unwrap();
        };
        write("pem", leaf.pem());
        write("key", key.serialize_pem());
        write("both", key.serialize_pem() + &leaf.pem());
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }
}

fn nginx(folder: &Path, port: u16, server: &str) -> Running {
    let f = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {f}/pid; error_log {f}/error.log;\n\
         events {{}}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path {f}; proxy_temp_path {f}; fastcgi_temp_path {f};\n\
         uwsgi_temp_path {f}; scgi_temp_path {f};\n\
         server {{ {server} }}\n\
         }}\n"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let arguments = ["-c", &format!("{f}/nginx.conf"), "-e", &format!("{f}/error.log")];
    Running::new("/usr/sbin/nginx", &arguments, port)
}

/// The server as nginx names it.
fn behind(server: &Standin) -> String {
    server.url().replace("ws://", "http://").replace("/v1/realtime", "")
}

/// As nginx has to pass a WebSocket on.
fn pass(server: &Standin) -> String {
    format!(
        "proxy_pass {}; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
        behind(server)
    )
}

#[test]
fn long_a_client_certificate_through_nginx() {
    let folder = folder("nginx");
    let certificates = Certificates::new(&folder);
    certificates.sign("server", "localhost");
    certificates.sign("client", "captions");
    let server = server("behind the terminator");
    let (port, f) = (port(), folder.display());
    let (behind, pass) = (behind(&server), pass(&server));
    let _nginx = nginx(
        &folder,
        port,
        &format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {f}/server.pem;\n\
             ssl_certificate_key {f}/server.key;\n\
             ssl_client_certificate {f}/ca.pem; ssl_verify_client on;\n\
             location /closed/ {{ proxy_pass {behind}/; }}\n\
             location / {{\n\
             if ($http_x_team != captions) {{ return 403; }}\n\
             {pass}\n\
             }}"
        ),
    );
    let url = |path: &str| format!("wss://localhost:{port}{path}/v1/realtime");
    let set = |e: &gst::Element, certificate: Option<&str>, key: Option<&str>| {
        e.set_property("ca-certificate", certificates.path("ca.pem"));
        e.set_property("client-certificate", certificate.map(|c| certificates.path(c)));
        e.set_property("client-key", key.map(|k| certificates.path(k)));
        let headers = gst::Structure::builder("extra-headers").field("X-Team", "captions").build();
        e.set_property("extra-headers", headers);
    };
    for (certificate, key) in [("client.pem", Some("client.key")), ("client.both", None)] {
        let heard = hear(&url(""), |e| set(e, Some(certificate), key));
        assert_eq!(heard.unwrap(), ["behind", "the", "terminator"], "{certificate}");
    }
    let e = hear(&url(""), |e| set(e, None, None)).unwrap_err();
    assert!(e.contains("client-certificate"), "{e}");
    // Its key is another's.
    certificates.sign("other", "other");
    let asr = element(&url(""));
    set(&asr, Some("client.pem"), Some("other.key"));
    let bus = gst::Bus::new();
    asr.set_bus(Some(&bus));
    assert!(asr.set_state(gst::State::Paused).is_err());
    assert!(wait_error(&bus).0.message().contains("client-key"));
    asr.set_state(gst::State::Null).unwrap();
    asr.set_bus(None);
    // A proxy that does not pass the upgrade on.
    let e = hear(&url("/closed"), |e| set(e, Some("client.pem"), Some("client.key"))).unwrap_err();
    assert!(e.contains("Upgrade"), "{e}");
}

/// 9.17: a certificate so old that it cannot be read (X.509 v1).
#[test]
fn long_insecure_tls_takes_any_certificate() {
    let folder = folder("x509v1");
    let f = folder.display();
    let run = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    run(&format!(
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {f}/server.key -out {f}/server.csr"
    ));
    // Without extensions it is of version 1.
    run(&format!("x509 -req -in {f}/server.csr -signkey {f}/server.key -out {f}/server.pem"));
    let server = server("any certificate");
    let port = port();
    let pass = pass(&server);
    let _nginx = nginx(
        &folder,
        port,
        &format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {f}/server.pem;\n\
             ssl_certificate_key {f}/server.key;\n\
             location / {{\n\
             {pass}\n\
             }}"
        ),
    );
    let url = format!("wss://localhost:{port}/v1/realtime");
    let heard = hear(&url, |e| e.set_property("insecure-tls", true));
    assert_eq!(heard.unwrap(), ["any", "certificate"]);
    assert!(hear(&url, |_| ()).is_err());
}
