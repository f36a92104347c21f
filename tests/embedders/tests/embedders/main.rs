//! The adapters, as the paravisors that they are for use them.

mod coconut;
mod helper;
mod identity;
mod indices;
mod life;
mod paravisor;
