// SPDX-License-Identifier: MPL-2.0

//! `gst-launch-1.0`, as users type it.

#[path = "support/launch.rs"]
mod launch;
mod support;

use launch::{Launcher, Wav, gst_launch};
use support::*;
use vllm_standin::{Builder, Flavour, Standin, Tls};

const TEXT: &str = "one two three four five six seven eight nine";

#[test]
fn gst_launch_into_a_fakesink() {
    let server = server(TEXT);
    let wav = Wav::new("fakesink", 4);
    let output = gst_launch(&format!(
        "filesrc location={wav} ! decodebin ! audioconvert ! audioresample ! \
         vllmrealtimeasr vad=false url={} ! fakesink dump=true",
        server.url()
    ));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for word in TEXT.split(' ') {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn gst_launch_with_nothing_behind_the_element() {
    let server = server(TEXT);
    let wav = Wav::new("sink", 4);
    let output = gst_launch(&format!(
        "-m filesrc location={wav} ! wavparse ! vllmrealtimeasr vad=false url={}",
        server.url()
    ));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("Got EOS from element"), "{text}");
    for word in TEXT.split(' ') {
        assert!(text.contains(&format!("text=(string){word}")), "{word}: {text}");
    }
}

#[test]
fn gst_launch_without_a_server_fails_with_advice() {
    let wav = Wav::new("nobody", 1);
    let output = gst_launch(&format!(
        "filesrc location={wav} ! wavparse ! vllmrealtimeasr url=ws://127.0.0.1:1 reconnect=0"
    ));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("ERROR: from element") && text.contains("property url"), "{text}");
}

#[test]
fn the_key_comes_from_the_environment_and_is_not_shown() {
    let server = builder("hello").api_key("sekrit").start().unwrap();
    let wav = Wav::new("key", 1);
    let launch = format!(
        "-v -m filesrc location={wav} ! wavparse ! vllmrealtimeasr vad=false url={}",
        server.url()
    );
    let output = Launcher::new().run(&launch, "sekrit");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("text=(string)hello") && !text.contains("sekrit"), "{text}");
    assert!(!Launcher::new().run(&launch, "wrong").status.success());
}

/// Ends by itself in an ERROR of the element, which holds these words.
fn fails(
    what: &str,
    launcher: &Launcher,
    wav: &Wav,
    properties: &str,
    behind: &str,
    words: &[&str],
) {
    let pipeline = format!(
        "filesrc location={wav} ! decodebin ! audioconvert ! audioresample ! \
         vllmrealtimeasr {properties} {behind}"
    );
    let output = launcher.run(&pipeline, "");
    // 124 is that of `timeout`: it did not end.
    assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let first = text.lines().find(|l| l.starts_with("ERROR: from element"));
    let first = first.unwrap_or_else(|| panic!("{what}: {output:?}"));
    assert!(first.contains("GstVllmRealtimeAsr"), "{what}: {first}");
    for word in words {
        assert!(first.contains(word), "{what}: no '{word}' in {first}");
    }
}

#[test]
fn whatever_runs_there_it_ends_in_an_error_that_says_what_to_do() {
    let (launcher, wav) = (Launcher::new(), Wav::new("errors", 2));
    let of = || Standin::builder();
    let cases: [(&str, Builder, &str, &[&str]); 11] = [
        (
            "silent",
            of().flavour(Flavour::SilentAfterUpgrade),
            "",
            &["free slot", "connect-timeout"],
        ),
        ("no upgrade", of().flavour(Flavour::SilentBeforeUpgrade), "", &["connect-timeout"]),
        ("never accepts", of().flavour(Flavour::NeverAccepts), "", &["connect-timeout"]),
        ("401", of().refuse(401), "", &["HTTP 401", "Set property api-key"]),
        ("403", of().refuse(403), "", &["HTTP 403", "serves standin"]),
        (
            "403 to all",
            of().refuse(403).models_status(403),
            "",
            &["HTTP 403", "Check the path in property url"],
        ),
        ("404 to all", of().refuse(404).models_status(404), "", &["HTTP 404", "Set property url"]),
        ("503", of().refuse(503), "reconnect=1", &["HTTP 503", "property reconnect"]),
        ("another model", builder("hello"), "model=a/b", &["no model 'a/b'", "Set property model"]),
        ("OpenAI", of().flavour(Flavour::OpenAi), "", &["another protocol", "Set property url"]),
        ("TLS", of().tls(Tls::SelfSigned), "", &["use wss://"]),
    ];
    for (what, server, properties, words) in cases {
        let server = server.start().unwrap();
        // Only those that may yet answer are waited for.
        let waits = ["silent", "no upgrade", "never accepts"].contains(&what);
        let timeout = if waits { 300 } else { 3_600_000 };
        let url = server.url().replace("wss://", "ws://");
        let properties = format!("url={url} connect-timeout={timeout} {properties}");
        for behind in ["", "! srtenc ! fakesink", "! fakesink dump=true"] {
            fails(what, &launcher, &wav, &properties, behind, words);
        }
    }
}

#[test]
fn without_a_server_it_ends_in_an_error_that_says_what_to_do() {
    let (launcher, wav) = (Launcher::new(), Wav::new("no-server", 2));
    for behind in ["", "! srtenc ! fakesink", "! fakesink dump=true"] {
        let properties = "url=ws://127.0.0.1:1/v1/realtime connect-timeout=300";
        let words = ["ws://127.0.0.1:1/v1/realtime", "vllm serve", "set property url"];
        fails("no server", &launcher, &wav, properties, behind, &words);
    }
}
