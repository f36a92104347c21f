//! What `cargo xtask` does, as a library that the suites share.
//!
//! | module | is |
//! |---|---|
//! | [`mod@bench`] | the verb of that name: speed, beside libtpms |
//! | [`boot_times`], [`boots`] | the verbs `boot-times` and `boots` |
//! | [`build`] | cargo calls for what runs without an operating system |
//! | [`child`] | children that end with us |
//! | [`ci`] | the verb of that name |
//! | [`debian`] | programs from Debian packages |
//! | [`demo`] | the verb of that name: Linux at VMPL2, and a changed word |
//! | [`deny`] | licences, sources and advisories of crates by others |
//! | [`digest`] | the launch digest of an IGVM file |
//! | [`doctor`] | the verb of that name: what works on this computer |
//! | [`evidence`] | collecting what a verifier needs |
//! | [`fuzz`] | the verb of that name |
//! | [`guest`] | the verb of that name: an operating system in the machine |
//! | [`image`] | the IGVM file: packing, sizes |
//! | [`measure`] | the verb of that name |
//! | [`mutants`] | the verb of that name |
//! | [`progress`] | status lines |
//! | [`proofs`] | the verbs `panics`, `coverage`, `codes` and `beside` |
//! | [`psp`] | the mock secure processor's identity |
//! | [`qemu`] | the machine in QEMU |
//! | [`relay`] | the client of the payload at VMPL2 |
//! | [`run`] | the verb of that name |
//! | [`screen`] | lines for a reader |
//! | [`server`] | a TPM at two local TCP ports |
//! | [`status`] | what exit statuses mean |
//! | [`suite`] | the suites that are more than `cargo test` |
//! | [`suites`] | the verb of that name: suites by others |
//! | [`terminal`] | keys for a guest |
//! | [`mod@test`] | the verb of that name |
//! | [`timeline`] | what a boot says |
//! | [`tool`] | programs from the crates' registry |
//! | [`tpm`] | the verb of that name |
//! | [`vectors`] | the verbs about the engine's cryptography: vectors, keys, timing |
//! | [`verify`] | judging evidence |
//! | [`watch`] | one boot of an operating system, moment by moment |
//! | [`workspace`] | where things lie |
//! | [`wrapper`] | what makes two checkouts give the same image |

pub mod bench;
pub mod boot_times;
pub mod boots;
pub mod build;
pub mod child;
pub mod ci;
pub mod debian;
pub mod demo;
pub mod deny;
pub mod digest;
pub mod doctor;
pub mod evidence;
pub mod fuzz;
pub mod guest;
pub mod image;
pub mod measure;
pub mod mutants;
pub mod progress;
pub mod proofs;
pub mod psp;
pub mod qemu;
pub mod relay;
pub mod run;
pub mod screen;
pub mod server;
pub mod status;
pub mod suite;
pub mod suites;
pub mod terminal;
pub mod test;
pub mod timeline;
pub mod tool;
pub mod tpm;
pub mod vectors;
pub mod verify;
pub mod watch;
pub mod workspace;
pub mod wrapper;
