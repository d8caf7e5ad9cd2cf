// SPDX-License-Identifier: MPL-2.0

//! Pipelines from launch lines, run to their end.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gst::glib;
use gst::prelude::*;

use crate::{Error, Word};

pub fn parse(launch: &str) -> Result<gst::Pipeline, Error> {
    gst::parse::launch(launch)?.downcast().map_err(|_| "no pipeline".into())
}

pub fn element(pipeline: &gst::Pipeline, name: &str) -> gst::Element {
    pipeline.by_name(name).expect("named in the launch line")
}

pub fn set_location(pipeline: &gst::Pipeline, name: &str, file: &Path) {
    element(pipeline, name).set_property("location", file);
}

/// A source of what a media file has of this kind, as `audio/x-raw`.
pub fn file_source(file: &Path, kind: &str) -> Result<String, Error> {
    let path = std::fs::canonicalize(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let uri = glib::filename_to_uri(path, None)?;
    Ok(format!("uridecodebin uri=\"{uri}\" caps={kind} expose-all-streams=false"))
}

/// Gives a source all words at once.
pub fn feed(pipeline: &gst::Pipeline, name: &str, words: &[Word]) -> Result<(), Error> {
    let source = element(pipeline, name).downcast::<gst_app::AppSrc>().map_err(|_| "no appsrc")?;
    source.set_caps(Some(&gst::Caps::builder("text/x-raw").field("format", "utf8").build()));
    source.set_format(gst::Format::Time);
    source.set_max_bytes(u64::MAX);
    for word in words {
        let mut buffer = gst::Buffer::from_slice(word.text.clone().into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(word.begin);
            buffer.set_duration(word.end.saturating_sub(word.begin));
        }
        source.push_buffer(buffer)?;
    }
    source.end_of_stream()?;
    Ok(())
}

/// Runs a pipeline to its end.
pub fn run(pipeline: &gst::Pipeline) -> Result<(), Error> {
    let main_loop = glib::MainLoop::new(None, false);
    let failure = Arc::new(Mutex::new(None::<String>));
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let _watch = bus.add_watch({
        let (main_loop, failure) = (main_loop.clone(), failure.clone());
        move |_, message| {
            match message.view() {
                gst::MessageView::Eos(..) => main_loop.quit(),
                gst::MessageView::Error(error) => {
                    *failure.lock().unwrap() = Some(error.error().to_string());
                    main_loop.quit();
                }
                gst::MessageView::Warning(warning) => eprintln!("warning: {}", warning.error()),
                _ => (),
            }
            glib::ControlFlow::Continue
        }
    })?;
    let started = pipeline.set_state(gst::State::Playing);
    if started.is_ok() {
        main_loop.run();
    } else if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
        && let gst::MessageView::Error(error) = message.view()
    {
        *failure.lock().unwrap() = Some(error.error().to_string());
    }
    pipeline.set_state(gst::State::Null)?;
    if let Some(failure) = failure.lock().unwrap().take() {
        return Err(failure.into());
    }
    started?;
    Ok(())
}
