// SPDX-License-Identifier: MPL-2.0

//! Whom the element talks to, and what it tells whom: certificates, the key, redirects.

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gst::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::*;
use vllm_standin::{Script, Standin, Tls};

/// An authority of our own, and a server with a certificate by it for `name`.
struct Authority {
    pem: PathBuf,
    server: Standin,
}

impl Authority {
    fn new(test: &str, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&server_key, &issuer).unwrap();
        let pem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.pem"));
        std::fs::write(&pem, authority.pem()).unwrap();
        let tls = Tls::Given { certificate: leaf.pem(), key: server_key.serialize_pem() };
        let server =
            Standin::builder().script(Script::text("safe words")).tls(tls).start().unwrap();
        Authority { pem, server }
    }
}

/// Why the element does not even start.
fn refused(url: &str, set: impl FnOnce(&gst::Element)) -> String {
    let element = element(url);
    set(&element);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let (e, _) = wait_error(&bus);
    element.set_state(gst::State::Null).unwrap();
    element.set_bus(None);
    e.message().to_owned()
}

#[test]
fn an_unknown_authority_is_refused_and_the_property_named() {
    let a = Authority::new("unknown", "localhost");
    let e = hear(&a.server.url(), |_| ()).unwrap_err();
    assert!(e.contains("ca-certificate") && e.contains("not trusted"), "{e}");
    assert!(a.server.log().connections.iter().all(|c| c.headers.is_empty()), "nothing was asked");
}

#[test]
fn the_users_authority_is_trusted() {
    let a = Authority::new("trusted", "localhost");
    let set = |e: &gst::Element| e.set_property("ca-certificate", a.pem.to_str().unwrap());
    assert_eq!(hear(&a.server.url(), set).unwrap(), ["safe", "words"]);
}

/// 9.17: as with curl, a certificate that is itself in the file needs nobody to vouch for it: one
/// that says it is an authority, as `openssl req -x509` makes them, or not. Its name counts.
#[test]
fn a_servers_own_certificate_is_trusted() {
    for (name, is_ca) in [("localhost", true), ("localhost", false), ("another.invalid", true)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let own = params.self_signed(&key).unwrap();
        let file = format!("own-{name}-{is_ca}.pem");
        let pem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&pem, own.pem()).unwrap();
        let tls = Tls::Given { certificate: own.pem(), key: key.serialize_pem() };
        let server =
            Standin::builder().script(Script::text("safe words")).tls(tls).start().unwrap();
        let set = |e: &gst::Element| e.set_property("ca-certificate", pem.to_str().unwrap());
        let heard = hear(&server.url(), set);
        if name == "localhost" {
            assert_eq!(heard.unwrap(), ["safe", "words"], "{is_ca}");
        } else {
            assert!(heard.unwrap_err().contains("another host"));
        }
        // Another one of the same name is not trusted for it.
        let other = Standin::builder().tls(Tls::SelfSigned).start().unwrap();
        let e = hear(&other.url(), set).unwrap_err();
        assert!(e.contains("not trusted"), "{e}");
    }
}

/// 9.18: headers of the user's own; nothing of them is shown.
#[test]
fn extra_headers_are_sent_and_not_shown() {
    init();
    let server = server("safe words");
    let headers = gst::Structure::builder("extra-headers")
        .field("X-Gateway-Key", "s3cret-of-the-gateway")
        .field("X-Team", gst::Array::new(["captions", "news"]))
        .build();
    let set = |e: &gst::Element| e.set_property("extra-headers", headers.clone());
    assert_eq!(hear(&server.url(), set).unwrap(), ["safe", "words"]);
    let log = server.log();
    let sent = &log.connections.iter().find(|c| c.started > 0).unwrap().headers;
    let has = |name: &str, value: &str| {
        sent.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
    };
    assert!(has("x-gateway-key", "s3cret-of-the-gateway"), "{sent:?}");
    assert!(has("x-team", "captions") && has("x-team", "news"), "{sent:?}");
    for (name, value) in [("Upgrade", "x"), ("X-Y", "s3cret\r\nEvil: 1")] {
        let headers = gst::Structure::builder("extra-headers").field(name, value).build();
        let e = refused(&server.url(), |e| e.set_property("extra-headers", headers));
        assert!(e.contains("extra-headers") && !e.contains("s3cret"), "{e}");
    }
}

/// 9.18: files of the client's own that cannot be.
#[test]
fn a_client_certificate_that_cannot_be_is_named() {
    let a = Authority::new("client", "localhost");
    let pem = a.pem.to_str().unwrap();
    for (certificate, key, named) in [
        (Some("/nonexistent.pem"), None, "client-certificate"),
        (Some(pem), None, "client-certificate"),
        (Some(pem), Some("/nonexistent.pem"), "client-key"),
        (None, Some(pem), "client-key"),
    ] {
        let e = refused(&a.server.url(), |e| {
            e.set_property("ca-certificate", pem);
            e.set_property("client-certificate", certificate);
            e.set_property("client-key", key);
        });
        assert!(e.contains(&format!("Property {named}")), "{e}");
    }
}

#[test]
fn insecure_tls_checks_nothing() {
    let a = Authority::new("insecure", "another.invalid");
    let set = |e: &gst::Element| e.set_property("insecure-tls", true);
    assert_eq!(hear(&a.server.url(), set).unwrap(), ["safe", "words"]);
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let a = Authority::new("another-host", "another.invalid");
    let set = |e: &gst::Element| e.set_property("ca-certificate", a.pem.to_str().unwrap());
    let e = hear(&a.server.url(), set).unwrap_err();
    assert!(e.contains("another host") && e.contains("property url"), "{e}");
    assert!(a.server.log().connections.iter().all(|c| c.headers.is_empty()), "nothing was asked");
}

#[test]
fn a_certificate_of_no_authority_is_refused() {
    let server = Standin::builder().tls(Tls::SelfSigned).start().unwrap();
    let e = hear(&server.url(), |_| ()).unwrap_err();
    assert!(e.contains("ca-certificate"), "{e}");
}

/// Also from the environment, where nobody looks at it before the element does.
#[test]
fn a_key_with_control_characters_goes_nowhere() {
    for key in ["sekrit\r\nX-Evil: 1", "sekrit\n", "sekrit\u{7f}", "sekrit\tx"] {
        let server = server("words");
        let element = element(&server.url());
        element.set_property("api-key", key);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let (e, debug) = wait_error(&bus);
        assert!(e.matches(gst::ResourceError::Settings), "{e}");
        assert!(e.message().contains("api-key"), "{e}");
        assert!(!e.message().contains("sekrit") && !debug.contains("sekrit"), "{e} {debug}");
        element.set_state(gst::State::Null).unwrap();
        element.set_bus(None);
        assert_eq!(server.log().opened, 0);
    }
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let other = server("words");
    for status in [301, 302, 303, 307, 308] {
        let location = other.url().replace("ws://", "http://");
        let first = Standin::builder().refuse(status).redirect_to(location).start().unwrap();
        let e = hear(&first.url(), |e| e.set_property("api-key", "sekrit")).unwrap_err();
        assert!(e.contains("not followed"), "{e}");
        let sent = first.inspect(|log| {
            log.connections.iter().find_map(|c| c.header("authorization").map(str::to_owned))
        });
        assert_eq!(sent.as_deref(), Some("Bearer sekrit"), "the first host is asked with the key");
    }
    assert_eq!((other.log().opened, other.log().requests.len()), (0, 0));
}

const KEY: &str = "sekrit-7d1f4c";

/// What a whole run writes anywhere, at the highest debug level: the key is not in it.
#[test]
fn the_key_is_nowhere_in_what_a_run_writes() {
    let server = builder("one two three").api_key(KEY).start().unwrap();
    let refusing = builder("one").api_key("another").start().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-key");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    // A proxy that is not there, after it was asked for with a password.
    let proxied = "ws://127.0.0.1:9/by-proxy";
    for from_environment in [false, true] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "child_that_runs_with_a_key", "--ignored", "--nocapture"])
            .env("GST_DEBUG", "*:9")
            .env("GST_DEBUG_NO_COLOR", "1")
            .env("RUST_LOG", "trace")
            .env("GST_DEBUG_DUMP_DOT_DIR", &folder)
            .env("CHILD_URLS", format!("{} {} {proxied}", server.url(), refusing.url()));
        // Under another name, so that only the element itself takes it for a key.
        if from_environment {
            child.env("VLLM_API_KEY", KEY);
        } else {
            child.env_remove("VLLM_API_KEY").env("CHILD_SETS_IT", "1");
        }
        let output = child.output().unwrap();
        let written = [output.stdout, output.stderr].concat();
        let written = String::from_utf8_lossy(&written);
        assert!(output.status.success(), "{}", &written[written.len().saturating_sub(3000)..]);
        // It is a log of all that happened, indeed.
        for sign in [
            "word: three",
            "error: ",
            "stats: ",
            "property url = ",
            "TRACE",
            "api-key",
            "No proxy answers at http://127.0.0.1:9",
        ] {
            assert!(written.contains(sign), "no '{sign}' in {} bytes", written.len());
        }
        assert_absent(&written, "the output");
    }
    let mut dots = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_absent(&std::fs::read_to_string(&path).unwrap(), path.to_str().unwrap());
        dots += 1;
    }
    assert!(dots >= 2, "{dots} dot files");
    let keys = server.inspect(|log| {
        let of = |c: &vllm_standin::ConnectionLog| c.header("authorization").map(str::to_owned);
        log.connections.iter().filter_map(of).collect::<Vec<_>>()
    });
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|k| *k == format!("Bearer {KEY}")));
    let gateway = server.inspect(|log| {
        log.connections.iter().filter(|c| c.header("x-gateway-key") == Some(KEY)).count()
    });
    assert_eq!(gateway, 2);
}

/// What the crates below the element tell a logger that an application in Rust has installed.
struct Logger(Mutex<String>);

static LOGGER: Logger = Logger(Mutex::new(String::new()));

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        let mut all = self.0.lock().unwrap();
        let _ = writeln!(all, "{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

#[test]
fn the_key_is_nowhere_in_what_the_application_logs() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let authority = Authority::new("logged", "localhost");
    let plain = server("safe words");
    for server in [&plain, &authority.server] {
        let set = |e: &gst::Element| {
            e.set_property("api-key", KEY);
            e.set_property("ca-certificate", authority.pem.to_str().unwrap());
        };
        assert_eq!(hear(&server.url(), set).unwrap(), ["safe", "words"]);
        let sent = server.inspect(|log| {
            let keys = log.connections.iter().filter_map(|c| c.header("authorization"));
            keys.filter(|k| *k == format!("Bearer {KEY}")).count()
        });
        assert!(sent > 0, "the server had it");
    }
    let written = LOGGER.0.lock().unwrap();
    // It is a log of the whole of both sessions, indeed.
    for sign in ["tungstenite", "rustls", "session.created", "session.update", "writing frame"] {
        assert!(written.contains(sign), "no '{sign}' in {} bytes", written.len());
    }
    assert_absent(&written, "the log");
    let basic = [KEY.to_owned(), format!("Bearer {KEY}"), format!(":{KEY}"), format!("{KEY}:")];
    for text in basic {
        // Behind the first and before the last few characters it is the same wherever it stands.
        let encoded = STANDARD_NO_PAD.encode(text);
        assert_absent_part(&written, &encoded[4..encoded.len() - 4], "the log");
    }
}

fn assert_absent(text: &str, what: &str) {
    // As it is, and as a Debug of bytes or a percent-encoding would have parts of it.
    for part in [KEY, "7d1f4c", "656b7269"] {
        assert_absent_part(text, part, what);
    }
}

fn assert_absent_part(text: &str, part: &str, what: &str) {
    if let Some(at) = text.find(part) {
        let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let to = text[at..].find('\n').map_or(text.len(), |n| at + n);
        panic!("the key is in {what}: {}", &text[from..to]);
    }
}

/// Runs in a process of its own, for `the_key_is_nowhere_in_what_a_run_writes`.
#[test]
#[ignore = "started by the_key_is_nowhere_in_what_a_run_writes"]
fn child_that_runs_with_a_key() {
    let Ok(urls) = std::env::var("CHILD_URLS") else { return };
    init();
    for url in urls.split_whitespace() {
        let pipeline = gst::Pipeline::new();
        let source = gst::ElementFactory::make("audiotestsrc")
            .property("num-buffers", 50)
            .property("samplesperbuffer", 1600)
            .build()
            .unwrap();
        let element = element(url);
        if std::env::var_os("CHILD_SETS_IT").is_some() {
            element.set_property("api-key", KEY);
        }
        let headers = gst::Structure::builder("extra-headers").field("X-Gateway-Key", KEY).build();
        element.set_property("extra-headers", headers);
        if url.ends_with("by-proxy") {
            element.set_property("proxy", format!("http://user:{KEY}@127.0.0.1:9"));
            element.set_property("connect-timeout", 100_u32);
        }
        let sink = gst::ElementFactory::make("fakesink").property("async", false).build().unwrap();
        pipeline.add_many([&source, &element, &sink]).unwrap();
        let caps: gst::Caps = CAPS.parse().unwrap();
        source.link_filtered(&element, &caps).unwrap();
        element.link(&sink).unwrap();
        let _ = pipeline.set_state(gst::State::Playing);
        wait_message(&pipeline.bus().unwrap(), |m| {
            println!("message: {m:?}");
            if let Some(s) = structure(m, "vllmrealtimeasr/word") {
                println!("word: {}", s.get::<String>("text").unwrap());
            }
            match m.view() {
                gst::MessageView::Eos(_) => Some(()),
                gst::MessageView::Error(e) => {
                    println!("error: {} {:?} {:?}", e.error(), e.debug(), e.details());
                    Some(())
                }
                _ => None,
            }
        });
        pipeline.debug_to_dot_file(gst::DebugGraphDetails::all(), pipeline.name());
        println!("stats: {}", element.property::<gst::Structure>("stats"));
        for property in element.list_properties() {
            if property.flags().contains(gst::glib::ParamFlags::READABLE) {
                let value = element.property_value(property.name());
                println!("property {} = {value:?}", property.name());
            } else {
                println!("property {} cannot be read", property.name());
            }
        }
        down(&pipeline, gst::State::Null);
    }
}
