// SPDX-License-Identifier: MPL-2.0

//! Tables of properties, for the elements: a row for each, of which all else follows.

use std::time::Duration;

use gst::glib;
use gst::prelude::*;

/// When a property can be set.
pub const READY: glib::ParamFlags = gst::PARAM_FLAG_MUTABLE_READY;
pub const PLAYING: glib::ParamFlags = gst::PARAM_FLAG_MUTABLE_PLAYING;

/// Where the settings `S` hold a property.
pub type Field<S, T> = fn(&mut S) -> &mut T;

type Set<S> = dyn Fn(&mut S, &glib::Value) + Send + Sync;
type Get<S> = dyn Fn(&mut S) -> glib::Value + Send + Sync;

/// A property. GObject checks type and range before it is set.
pub struct Property<S> {
    spec: glib::ParamSpec,
    set: Box<Set<S>>,
    get: Box<Get<S>>,
}

impl<S: 'static> Property<S> {
    pub fn new(
        spec: glib::ParamSpec,
        set: impl Fn(&mut S, &glib::Value) + Send + Sync + 'static,
        get: impl Fn(&mut S) -> glib::Value + Send + Sync + 'static,
    ) -> Self {
        Property { spec, set: Box::new(set), get: Box::new(get) }
    }

    /// As the field has it.
    pub fn of<T>(spec: glib::ParamSpec, field: Field<S, T>) -> Self
    where
        T: ToValue + for<'v> glib::value::FromValue<'v> + 'static,
    {
        let set = move |s: &mut S, v: &glib::Value| {
            if let Ok(value) = v.get() {
                *field(s) = value;
            }
        };
        Property::new(spec, set, move |s| field(s).to_value())
    }

    /// Read by the element itself.
    pub fn read_only(spec: glib::ParamSpec) -> Self {
        Property::new(spec, |_, _| (), |_| None::<String>.to_value())
    }
}

/// All properties of an element, in the order in which `gst-inspect-1.0` shows them.
pub struct Table<S> {
    properties: Vec<Property<S>>,
    specs: Vec<glib::ParamSpec>,
}

impl<S> Table<S> {
    pub fn new(properties: Vec<Property<S>>) -> Self {
        let specs = properties.iter().map(|p| p.spec.clone()).collect();
        Table { properties, specs }
    }

    pub fn specs(&self) -> &[glib::ParamSpec] {
        &self.specs
    }

    fn property(&self, spec: &glib::ParamSpec) -> Option<&Property<S>> {
        self.properties.iter().find(|p| p.spec.name() == spec.name())
    }

    pub fn set(&self, settings: &mut S, spec: &glib::ParamSpec, value: &glib::Value) {
        if let Some(property) = self.property(spec) {
            (property.set)(settings, value);
        }
    }

    pub fn get(&self, settings: &mut S, spec: &glib::ParamSpec) -> glib::Value {
        self.property(spec)
            .map_or_else(|| glib::Value::from_type(spec.value_type()), |p| (p.get)(settings))
    }
}

/// Empty is unset.
pub fn given(value: &glib::Value) -> Option<String> {
    value.get::<Option<String>>().ok().flatten().filter(|t| !t.is_empty())
}

pub fn string<'a>(
    name: &'a str,
    nick: &'a str,
    blurb: &'a str,
) -> glib::ParamSpecStringBuilder<'a> {
    glib::ParamSpecString::builder(name).nick(nick).blurb(blurb)
}

pub fn flag<S: Default + 'static>(
    name: &str,
    nick: &str,
    field: Field<S, bool>,
    mutable: glib::ParamFlags,
    blurb: &str,
) -> Property<S> {
    let spec = glib::ParamSpecBoolean::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(*field(&mut S::default()))
        .flags(glib::ParamFlags::READWRITE | mutable);
    Property::of(spec.build(), field)
}

/// A count, within these bounds.
pub fn count<S: Default + 'static>(
    name: &str,
    nick: &str,
    field: Field<S, u32>,
    (minimum, maximum): (u32, u32),
    mutable: glib::ParamFlags,
    blurb: &str,
) -> Property<S> {
    let spec = glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(minimum)
        .maximum(maximum)
        .default_value(*field(&mut S::default()))
        .flags(glib::ParamFlags::READWRITE | mutable);
    Property::of(spec.build(), field)
}

/// A time, in ms outside.
pub fn millis<S: Default + 'static>(
    name: &str,
    nick: &str,
    field: Field<S, Duration>,
    (minimum, maximum): (u32, u32),
    mutable: glib::ParamFlags,
    blurb: &str,
) -> Property<S> {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let spec = glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(minimum)
        .maximum(maximum)
        .default_value(ms(*field(&mut S::default())))
        .flags(glib::ParamFlags::READWRITE | mutable);
    let set = move |s: &mut S, v: &glib::Value| {
        if let Ok(ms) = v.get::<u32>() {
            *field(s) = Duration::from_millis(ms.into());
        }
    };
    Property::new(spec.build(), set, move |s| ms(*field(s)).to_value())
}
