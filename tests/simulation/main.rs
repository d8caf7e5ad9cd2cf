// SPDX-License-Identifier: MPL-2.0

//! The session under a virtual clock against a simulated vLLM, with faults drawn at random.
//!
//! A run is made from its seed alone. Environment: `SIM_SEED` (the first seed; hexadecimal or
//! decimal), `SIM_COUNT` (how many runs; `scripts/long.sh` asks for 20,000), `SIM_TRACE=1` (print
//! what happens).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

mod checks;
mod element;
mod schedule;
mod server;
mod truth;
mod world;

use schedule::Schedule;
use vllm_standin::Random;
use world::World;

const FIRST_SEED: u64 = 1;
const COUNT: u64 = 2_000;
/// Failures that are told.
const TOLD: usize = 20;

/// One run: what is wrong with it, and its trace.
fn run(seed: u64, trace: bool) -> (Result<(), String>, Vec<String>) {
    let run = || {
        let mut rng = Random::new(seed);
        let schedule = Schedule::new(&mut rng);
        if trace {
            println!("{}", checks::describe(&schedule));
        }
        World::new(&schedule, rng, trace).run()
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        (Err(format!("panic: {}", text.unwrap_or_default())), vec![])
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => value.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

#[test]
fn schedules() {
    let first = number("SIM_SEED");
    let count = number("SIM_COUNT").unwrap_or(if first.is_some() { 1 } else { COUNT });
    let first = first.unwrap_or(FIRST_SEED);
    let trace = std::env::var_os("SIM_TRACE").is_some();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(count as usize) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || failures.lock().unwrap().len() >= 10 * TOLD {
                        break;
                    }
                    let seed = first.wrapping_add(n);
                    let (result, lines) = run(seed, trace);
                    for line in lines {
                        println!("{line}");
                    }
                    if let Err(why) = result {
                        failures.lock().unwrap().push((seed, why));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, why) in failures.iter().take(TOLD) {
        println!("SIM_SEED={seed}: {why:.600}");
    }
    assert!(
        failures.is_empty(),
        "{} of {} runs failed; SIM_SEED=... SIM_TRACE=1 shows one",
        failures.len(),
        next.load(Ordering::Relaxed).min(count)
    );
    println!("{count} runs from seed {first}");
}
