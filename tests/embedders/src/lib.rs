//! The engine in the shapes that other paravisors give theirs: what a port to them consists of.
//!
//! | module | for | its shape is from |
//! |---|---|---|
//! | [`openhcl`] | OpenHCL's TPM device | openvmm's `tpm_lib`, `tpm_device`, and the crate `ms-tpm-20-ref-rs` |
//! | [`coconut`] | COCONUT-SVSM's vTPM protocol | its `kernel/src/vtpm`, `kernel/src/protocols` |
//!
//! Each has a module `shape`: the signatures that the paravisor declares, and nothing of what is behind them. A port
//! takes the paravisor's own instead. Both engines are a [`tpm_crb::Engine`], too.
extern crate alloc;

pub mod coconut;
pub mod openhcl;
mod secret;
