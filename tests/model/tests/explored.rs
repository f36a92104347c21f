//! The short form of `cargo xtask explore`: two processors, and every planted fault.

use model::plants::{AS_IT_IS, PLANTS};
use model::{find, scenes};

/// In every order of the steps of two processors every rule holds. Each scene can end in more than one way, so that
/// orders do make a difference in it.
#[test]
fn two_processors_in_every_order() {
    let scenes: Vec<_> = scenes(AS_IT_IS).iter().filter(|scene| scene.vcpus == 2).collect();
    assert!(scenes.len() >= 19);
    for scene in scenes {
        let figures = scene.explore().unwrap_or_else(|found| {
            panic!("{}: {}\n{}", scene.name, found.rule, found.trace.join("\n"));
        });
        assert!(figures.ends.len() > 1 && figures.states > 100, "{}: {figures:?}", scene.name);
    }
}

/// A fault that is not found means that the scenes or the rules have lost something.
#[test]
fn every_planted_fault_is_found() {
    let missed: Vec<_> = PLANTS.iter().filter(|plant| find(plant).is_none()).map(|plant| plant.what).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Three processors, in the scenes that take a second.
#[test]
fn three_processors_in_every_order() {
    let quick = [
        "CREATE_VCPU beside writes to the register state",
        "two CREATE_VCPU of one page",
        "two CREATE_VCPU for a processor that is to be started",
    ];
    let scenes = scenes(AS_IT_IS).iter().filter(|scene| scene.vcpus == 3 && quick.contains(&scene.name));
    let ends: Vec<_> =
        scenes.map(|scene| scene.explore().map(|figures| figures.ends.len()).expect(scene.name)).collect();
    assert!(ends.len() == quick.len() && ends.iter().all(|ends| *ends > 1), "{ends:?}");
}
