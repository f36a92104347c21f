//! What `cargo xtask` does: a module a verb, or a few that are kin.
//!
//! | module | is |
//! |---|---|
//! | [`anchors`] | the verb of that name: what anchors cost |
//! | [`mod@bench`] | the verb of that name: speed, beside libtpms |
//! | [`boots`] | the verbs `boots`, `boot-times`, `two-vcpus`, `exceptions` and `lies` |
//! | [`ci`] | the verb of that name |
//! | [`mod@clients`] | the verb of that name: programs by others, one by one |
//! | [`mod@conformance`] | the verb of that name: suites by others |
//! | [`deb`] | the verb of that name: the server's Debian package |
//! | [`demo`] | the verb of that name: Linux at VMPL2, and a changed word |
//! | [`deny`] | licences, sources and advisories of crates by others |
//! | [`disk`] | the verb of that name: what the disk with the TPM's state is proven by |
//! | [`doctor`] | the verb of that name: what works on this computer |
//! | [`flips`] | the verb of that name: evidence with each bit flipped |
//! | [`fuzz`] | the verb of that name |
//! | [`guest`] | the verb of that name: an operating system in the machine |
//! | [`image`] | the verb of that name |
//! | [`measure`], [`memory`] | the verbs of these names |
//! | [`mutants`] | the verb of that name |
//! | [`pictures`] | the suite of the verifier's page |
//! | [`proofs`] | the verbs `panics`, `coverage`, `codes`, `beside` and `explore` |
//! | [`run`] | the verb of that name |
//! | [`package`] | the suites of what users install |
//! | [`served`] | the firmware's TPM at local ports |
//! | [`simulate`] | the verb of that name: kept state |
//! | [`migrate`] | the verb of that name: a TPM moves |
//! | [`successors`] | options of `image` for that |
//! | [`kept`] | options of `image` for a state that is kept |
//! | [`status`] | what exit statuses mean |
//! | [`mod@test`] | the verb of that name |
//! | [`tools`] | programs that cargo installs |
//! | [`tpm`] | the verb of that name |
//! | [`vectors`] | the verbs about the engine's cryptography: vectors, keys, timing |
//!
//! What they have in common with the suites is in `host` (tests/host).

pub mod anchors;
pub mod bench;
pub mod boots;
pub mod capi;
pub mod ci;
pub mod clients;
pub mod conformance;
pub mod deb;
pub mod demo;
pub mod deny;
pub mod disk;
pub mod doctor;
pub mod embedding;
pub mod flips;
pub mod fuzz;
pub mod guest;
pub mod image;
pub mod kept;
pub mod measure;
pub mod memory;
pub mod migrate;
pub mod mutants;
pub mod needs;
pub mod package;
pub mod pictures;
pub mod proofs;
pub mod run;
pub mod served;
pub mod simulate;
pub mod status;
pub mod successors;
pub mod test;
pub mod tools;
pub mod tpm;
pub mod vectors;
