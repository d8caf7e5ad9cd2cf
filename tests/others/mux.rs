// SPDX-License-Identifier: MPL-2.0

//! `cea608mux` for `transcriberbin`, which asks for it as soon as it is made, though GStreamer has it
//! only since 1.24. One stream of captions needs no mixing.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

glib::wrapper! {
    pub struct Mux(ObjectSubclass<imp::Mux>) @extends gst::Bin, gst::Element, gst::Object;
}

/// Registers it where GStreamer has none.
pub fn register() {
    if gst::ElementFactory::find("cea608mux").is_none() {
        gst::Element::register(None, "cea608mux", gst::Rank::NONE, Mux::static_type()).unwrap();
    }
}

mod imp {
    use std::sync::LazyLock;

    use super::*;

    pub struct Mux {
        through: gst::Element,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Mux {
        const NAME: &'static str = "TestCea608Mux";
        type Type = super::Mux;
        type ParentType = gst::Bin;

        fn new() -> Mux {
            Mux { through: gst::ElementFactory::make("funnel").build().unwrap() }
        }
    }

    impl ObjectImpl for Mux {
        fn properties() -> &'static [glib::ParamSpec] {
            static ALL: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecString::builder("start-time-selection").build(),
                    glib::ParamSpecUInt64::builder("latency").build(),
                ]
            });
            &ALL
        }

        fn set_property(&self, _: usize, _: &glib::Value, _: &glib::ParamSpec) {}

        fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
            spec.default_value().clone()
        }

        fn constructed(&self) {
            self.parent_constructed();
            let bin = self.obj();
            bin.add(&self.through).unwrap();
            let template = bin.pad_template("src").unwrap();
            let inner = self.through.static_pad("src").unwrap();
            let pad = gst::GhostPad::builder_from_template_with_target(&template, &inner).unwrap();
            bin.add_pad(&pad.name("src").build()).unwrap();
        }
    }

    impl GstObjectImpl for Mux {}
    impl BinImpl for Mux {}

    impl ElementImpl for Mux {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static ALL: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                use gst::{PadDirection::*, PadPresence::*};
                let caps = "closedcaption/x-cea-608".parse().unwrap();
                [("src", Src, Always), ("cc%u", Sink, Request)]
                    .map(|(n, d, p)| gst::PadTemplate::new(n, d, p, &caps).unwrap())
                    .to_vec()
            });
            &ALL
        }

        fn request_new_pad(
            &self,
            template: &gst::PadTemplate,
            name: Option<&str>,
            _: Option<&gst::Caps>,
        ) -> Option<gst::Pad> {
            let inner = self.through.request_pad_simple("sink_%u")?;
            let pad = gst::GhostPad::builder_from_template_with_target(template, &inner).ok()?;
            let pad = pad.name(name.unwrap_or("cc1")).build();
            // What comes in is what goes out: a funnel does not say so.
            let weak = self.obj().downgrade();
            pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
                let source = weak.upgrade().and_then(|bin| bin.static_pad("src"));
                match (info.query_mut().map(|q| q.view_mut()), source) {
                    (Some(gst::QueryViewMut::Caps(query)), Some(source)) => {
                        let caps = source.peer_query_caps(query.filter_owned().as_ref());
                        query.set_result(&caps);
                        gst::PadProbeReturn::Handled
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
            self.obj().add_pad(&pad).unwrap();
            Some(pad.upcast())
        }
    }
}
