// SPDX-License-Identifier: MPL-2.0

//! The rooms of the house (`docs/architecture.md`): each uses those below it and none above, and only
//! the elements' rooms know GStreamer.

use std::path::{Path, PathBuf};

/// From the top down.
const ROOMS: [&[&str]; 7] = [
    &["overlay"],
    &["asr", "rollup"],
    &["properties", "conventions"],
    &["realtime"],
    &["transcript"],
    &["speech"],
    &["timeline", "position", "mechanism"],
];

/// From here on down nothing knows GStreamer.
const PURE: usize = 3;

/// Nor do these files of the rooms above.
const PURE_FILES: [&str; 5] = [
    "src/rollup/layout",
    "src/rollup/layout.rs",
    "src/rollup/markup.rs",
    "src/rollup/replace.rs",
    "src/overlay/captions.rs",
];

/// What only the elements may say.
const GSTREAMER: [&str; 6] = ["gst::", "gst_base", "gst_audio", "gstreamer", "glib::", "use gst"];

fn sources(of: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Without comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|l| l.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn room(path: &Path) -> Option<usize> {
    let inside = path.strip_prefix("src").unwrap().components().next().unwrap();
    let name = Path::new(&inside).file_stem().unwrap().to_str().unwrap();
    ROOMS.iter().position(|rooms| rooms.contains(&name))
}

#[test]
fn each_room_uses_those_below_it_alone() {
    let mut all = Vec::new();
    sources(Path::new("src"), &mut all);
    assert!(all.len() > 60, "{all:?}");
    let mut seen = [0; ROOMS.len()];
    for path in &all {
        let Some(level) = room(path) else {
            assert_eq!(path, Path::new("src/lib.rs"), "a room that is not in the list");
            continue;
        };
        seen[level] += 1;
        let code = code(path);
        for above in ROOMS[..level].concat() {
            let uses = code.split("crate::").skip(1).any(|rest| {
                let path = rest.split([';', '(', ')']).next().unwrap_or_default();
                path.starts_with(above)
                    || path.starts_with('{') && path.contains(&format!("{above}::"))
            });
            assert!(!uses, "{path:?} uses {above}");
        }
        if level >= PURE || PURE_FILES.iter().any(|pure| path.starts_with(pure)) {
            for name in GSTREAMER {
                assert!(!code.contains(name), "{path:?} uses {name}");
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}
