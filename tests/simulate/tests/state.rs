//! The short form of `cargo xtask simulate state` and `garbage`; what is planted is found, and played again by its
//! seed.

use simulate::drive::Forgotten;
use simulate::runs::many;
use simulate::state::garbage;
use simulate::state::schedule::{Counts, Plant, run};

fn schedules(count: u64, plant: Plant) -> Result<Counts, simulate::runs::Finding> {
    many(1, count, |seed, counts| run(seed, plant, counts))
}

#[test]
fn old_or_new_never_mixed_never_lost() {
    let counts = schedules(5_000, Plant::default()).unwrap_or_else(|finding| panic!("{finding}"));
    // It is no proof where nothing happens.
    assert!(counts.commits > 25_000 && counts.cuts > 5_000 && counts.forward > 100, "{counts:?}");
    assert!(counts.attacks > 2_500 && counts.old > 100, "{counts:?}");
}

/// Each in a few thousand schedules, and again by the seed that is named.
#[test]
fn what_is_planted_is_found_and_played_again() {
    let forgets = |forgotten| Plant { forgotten, believes_old: false };
    let plants = [
        ("contents are not flushed before the head", forgets(Forgotten::FirstFlush), "Damaged(Contents"),
        ("the head is not flushed before the answer", forgets(Forgotten::LastFlush), "lost: "),
        ("what is known is not asked", Plant { believes_old: true, ..Plant::default() }, " is known, and "),
    ];
    for (name, plant, what) in plants {
        let finding = schedules(20_000, plant).expect_err(name);
        assert!(finding.what.contains(what), "{name}: {finding}");
        let again = run(finding.seed, plant, &mut Counts::default()).expect_err(name);
        assert_eq!(finding, again, "{name}");
    }
}

#[test]
fn a_disk_that_answers_garbage_gives_no_wrong_record() {
    let counts = many(1, 300, garbage::run).unwrap_or_else(|finding| panic!("{finding}"));
    let garbage::Counts { answers, boots, opened, empty } = counts;
    // Most is refused, and some of what is true gets through.
    assert!(answers > 50_000 && opened > 100 && empty > 10 && opened + empty < boots / 2, "{counts:?}");
}
