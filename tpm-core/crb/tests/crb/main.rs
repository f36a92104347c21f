//! The device as a guest and its embedder see it.

mod accesses;
mod drivers;
mod elsewhere;
mod guest_memory;
mod launch;
mod localities;
mod random;
mod rig;
mod saved;
mod transitions;
