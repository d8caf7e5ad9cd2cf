// SPDX-License-Identifier: MPL-2.0

//! The properties as applications see them.

mod support;

use gst::glib;
use gst::prelude::*;
use support::*;

/// Name, type, default; as README and issue say.
const PROPERTIES: &[(&str, &str, &str)] = &[
    ("url", "gchararray", "ws://localhost:8000/v1/realtime"),
    ("model", "gchararray", ""),
    ("language-code", "gchararray", "NULL"),
    ("api-key", "gchararray", "-"),
    ("latency", "guint", "3000"),
    ("latency-mode", "GstVllmRealtimeLatencyMode", "fixed"),
    ("lateness", "guint", "0"),
    ("max-observed-delay", "guint", "0"),
    ("chunk-duration", "guint", "80"),
    ("connect-timeout", "guint", "10000"),
    ("response-timeout", "guint", "30000"),
    ("post-messages", "gboolean", "true"),
    ("messages", "GstVllmRealtimeMessages", "-"),
    ("stats", "GstStructure", "-"),
    ("server-order", "GstVllmRealtimeServerOrder", "in-turn"),
    ("silence-commit", "guint", "800"),
    ("timing", "GstVllmRealtimeTiming", "auto"),
    ("timing-offset", "gint", "0"),
    ("vad", "gboolean", "true"),
    ("reconnect", "gint", "-1"),
    ("max-backlog", "guint", "60000"),
    ("max-utterance", "guint", "0"),
    ("ca-certificate", "gchararray", "NULL"),
    ("client-certificate", "gchararray", "NULL"),
    ("client-key", "gchararray", "NULL"),
    ("proxy", "gchararray", "NULL"),
    ("extra-headers", "GstStructure", "-"),
    ("insecure-tls", "gboolean", "false"),
];

fn new() -> gst::Element {
    init();
    gst::ElementFactory::make("vllmrealtimeasr").build().unwrap()
}

/// The element's own properties.
fn own(element: &gst::Element) -> Vec<glib::ParamSpec> {
    let own = |p: &glib::ParamSpec| p.owner_type() == element.type_();
    element.list_properties().iter().filter(|p| own(p)).cloned().collect()
}

fn shown(element: &gst::Element, name: &str) -> String {
    let value = element.property_value(name);
    match value.get::<Option<String>>() {
        Ok(text) => text.unwrap_or_else(|| "NULL".into()),
        Err(_) => value.serialize().unwrap().to_string(),
    }
}

#[test]
fn names_types_and_defaults() {
    let element = new();
    let mut found = own(&element).iter().map(|p| p.name().to_owned()).collect::<Vec<_>>();
    let mut expected = PROPERTIES.iter().map(|p| p.0.to_owned()).collect::<Vec<_>>();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for (name, type_, default) in PROPERTIES {
        let spec = element.find_property(name).unwrap();
        assert_eq!(spec.value_type().name(), *type_, "{name}");
        if *default != "-" {
            assert_eq!(shown(&element, name), *default, "{name}");
            let of_the_spec = spec.default_value();
            assert_eq!(
                of_the_spec.serialize().ok(),
                element.property_value(name).serialize().ok(),
                "{name}"
            );
        }
    }
}

#[test]
fn each_is_described_and_says_when_it_can_change() {
    let element = new();
    for spec in own(&element) {
        let blurb = spec.blurb().unwrap();
        assert!(blurb.len() > 10 && !spec.nick().is_empty(), "{}", spec.name());
        if spec.value_type() == u32::static_type() || spec.name() == "timing-offset" {
            assert!(blurb.contains("(ms)"), "{}: {blurb}", spec.name());
        }
        let flags = spec.flags();
        if !flags.contains(glib::ParamFlags::WRITABLE) {
            continue;
        }
        let playing = flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING);
        let ready = flags.contains(gst::PARAM_FLAG_MUTABLE_READY);
        assert!(playing != ready, "{}", spec.name());
        let while_playing =
            ["model", "language-code", "latency", "lateness", "post-messages", "messages"]
                .contains(&spec.name());
        assert_eq!(playing, while_playing, "{}", spec.name());
    }
}

#[test]
fn what_is_set_is_read_back() {
    let element = new();
    for (name, value) in [
        ("url", "wss://a:1/x, ws://b"),
        ("model", "m"),
        ("language-code", "de-AT"),
        ("latency", "1"),
        ("lateness", "2"),
        ("chunk-duration", "120"),
        ("connect-timeout", "3"),
        ("response-timeout", "4"),
        ("post-messages", "false"),
        ("silence-commit", "500"),
        ("timing", "segments"),
        ("timing-offset", "-30"),
        ("vad", "false"),
        ("reconnect", "7"),
        ("max-backlog", "5000"),
        ("max-utterance", "6000"),
        ("ca-certificate", "/a/b.pem"),
        ("insecure-tls", "true"),
    ] {
        element.set_property_from_str(name, value);
        assert_eq!(shown(&element, name), value, "{name}");
    }
    // As `transcriberbin` sets it where it knows of none.
    element.set_property("language-code", None::<String>);
    assert_eq!(shown(&element, "language-code"), "NULL");
}

#[test]
fn the_key_can_be_set_and_not_read() {
    let element = new();
    let flags = element.find_property("api-key").unwrap().flags();
    assert!(flags.contains(glib::ParamFlags::WRITABLE));
    assert!(!flags.contains(glib::ParamFlags::READABLE));
}

#[test]
fn pads_and_class_are_what_they_should_be() {
    init();
    let factory = gst::ElementFactory::find("vllmrealtimeasr").unwrap();
    assert_eq!(factory.metadata("klass"), Some("Audio/Text/Filter"));
    let caps = |name: &str| {
        let mut templates = factory.static_pad_templates().into_iter();
        let template = templates.find(|t| t.name_template() == name).unwrap();
        assert_eq!(template.presence(), gst::PadPresence::Always);
        template.caps().to_string()
    };
    let sink = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("rate", 16_000)
        .field("channels", 1)
        .field("layout", "interleaved")
        .build();
    assert!(caps("sink").parse::<gst::Caps>().unwrap().is_strictly_equal(&sink));
    assert_eq!(caps("src"), "text/x-raw, format=(string)utf8");
}

#[test]
fn other_caps_are_refused() {
    let element = new();
    let sink = element.static_pad("sink").unwrap();
    for other in ["rate=48000", "channels=2", "format=S16BE"] {
        let (field, value) = other.split_once('=').unwrap();
        let mut caps: gst::Caps = CAPS.parse().unwrap();
        match value.parse::<i32>() {
            Ok(number) => caps.make_mut().set(field, number),
            Err(_) => caps.make_mut().set(field, value),
        }
        assert!(!sink.query_accept_caps(&caps), "{caps}");
    }
    assert!(sink.query_accept_caps(&CAPS.parse().unwrap()));
}

/// 9.18: they can hold secrets.
#[test]
fn what_is_secret_in_the_proxy_and_the_headers_is_not_shown() {
    let element = new();
    element.set_property("proxy", "http://user:s3cret@proxy.example:3128");
    let headers = gst::Structure::builder("extra-headers")
        .field("X-Key", "s3cret")
        .field("X-Team", 7)
        .build();
    element.set_property("extra-headers", headers);
    assert_eq!(shown(&element, "proxy"), "http://proxy.example:3128");
    let headers = shown(&element, "extra-headers");
    assert!(headers.contains("X-Key") && !headers.contains("s3cret"), "{headers}");
    element.set_property("proxy", "socks://user:s3cret@proxy.example");
    assert!(!shown(&element, "proxy").contains("s3cret"));
    element.set_property("proxy", "");
    assert_eq!(shown(&element, "proxy"), "");
}
