//! The short form of `cargo xtask simulate anchors`.

use anchor_simulation::plants::{AS_IT_IS, PLANTS};
use anchor_simulation::run;

#[test]
fn no_rule_is_broken_in_ten_thousand_schedules() {
    let counts = run(AS_IT_IS, 1_000_000_000, 10_000).unwrap_or_else(|broken| panic!("{broken:?}"));
    // All that can happen has.
    let seen = [
        counts.starts,
        counts.commits,
        counts.without,
        counts.old,
        counts.superseded,
        counts.outrun,
        counts.lies,
        counts.cuts,
        counts.tombstones,
        counts.arrivals,
        counts.given_up,
    ];
    assert!(seen.iter().all(|count| *count > 500), "{counts:?}");
    assert!(counts.onward > 50 && counts.waiting_refused > 50, "{counts:?}");
}

/// A fault that is not found means that schedules or rules have lost something.
#[test]
fn every_planted_fault_is_found() {
    let missed: Vec<_> = PLANTS.iter().filter(|plant| run(plant.module, 1, 50_000).is_ok()).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_schedule_is_the_same_each_time() {
    let twice = [(); 2].map(|()| run("hearsay", 1, 5_000).unwrap_err());
    assert_eq!((twice[0].seed, &twice[0].rule), (twice[1].seed, &twice[1].rule));
}
