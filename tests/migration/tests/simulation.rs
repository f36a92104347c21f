//! Schedules of a host, in short; `cargo xtask simulate migration` runs a million.

use moves::disks::Fault;
use moves::simulation::{Reached, schedule};
use std::collections::BTreeMap;

#[test]
fn after_any_schedule_exactly_one_is_alive_or_can_be_brought_up() {
    let mut reached = BTreeMap::new();
    for seed in 0..20_000 {
        *reached.entry(schedule(seed, Fault::None).unwrap()).or_insert(0) += 1;
    }
    println!("{reached:?}");
    // What is looked at happens.
    for place in [Reached::Stayed, Reached::Waiting, Reached::Moved] {
        assert!(reached.get(&place).is_some_and(|times| *times > 500), "{reached:?}");
    }
}

#[test]
fn each_mistake_of_the_firmware_around_it_is_found() {
    const TWO: &str = "two are alive";
    const NONE: &str = "none is alive";
    const FORGOTTEN: &str = "a command that was answered is forgotten";
    for (fault, rules) in [
        (Fault::EarlyReceipt, [TWO, FORGOTTEN]),
        // A second tombstone may take the place of the first, and with it the receipt.
        (Fault::GoesOn, [NONE, FORGOTTEN]),
        (Fault::EarlyLife, [TWO, FORGOTTEN]),
        (Fault::DoesNotStop, [TWO, FORGOTTEN]),
        (Fault::SecondLife, [TWO, FORGOTTEN]),
        (Fault::NothingKept, [NONE, FORGOTTEN]),
    ] {
        let found = (0..20_000).find_map(|seed| schedule(seed, fault).err());
        let found = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        println!("{fault:?}: {found}");
        assert!(rules.contains(&found.rule), "{fault:?}: {found}");
        assert_eq!(schedule(found.seed, fault), Err(found), "a schedule is found again by its seed");
    }
}
