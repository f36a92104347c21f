//! The firmware's decision code on two and three processors, in every order of their steps: `cargo xtask explore`, and
//! docs/model.md.
//!
//! | module | is |
//! |---|---|
//! | [`engine`] | the explorer |
//! | [`hardware`] | pages, RMP, register states and TLBs, with the rules that must hold |
//! | [`plants`] | faults that must be found |
//! | [`as_it_is`], and one for each planted fault | a copy of the code, by build.rs; the rest from src/version |

extern crate alloc;

pub mod engine;
pub mod hardware;
pub mod hash;
pub mod plants;

use engine::{Figures, Finale, Found, Job};
use plants::Plant;

/// What some processors do at once.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What is tried.
    pub name: &'static str,
    /// How many processors take part.
    pub vcpus: usize,
    /// Sets it up.
    pub set_up: fn() -> (Vec<Job>, Finale),
}

impl Scene {
    /// Explores it in every order.
    ///
    /// # Errors
    /// A rule that is broken, and the way there.
    pub fn explore(&self) -> Result<Figures, Found> {
        engine::explore(&self.set_up)
    }
}

/// The scenes with one version of the code.
#[must_use]
pub fn scenes(module: &str) -> &'static [Scene] {
    VERSIONS.iter().find(|(name, _)| *name == module).map_or(&[], |(_, scenes)| scenes)
}

/// Looks for a planted fault in its scene; on two processors, and else on three.
#[must_use]
pub fn find(plant: &Plant) -> Option<(Scene, Found)> {
    let mut scenes = scenes(plant.module).iter().filter(|scene| scene.name == plant.scene);
    scenes.find_map(|scene| scene.explore().err().map(|found| (*scene, found)))
}

include!(concat!(env!("OUT_DIR"), "/versions.rs"));
