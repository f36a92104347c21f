//! What each part of the TPM is.

pub(crate) mod act;
pub(crate) mod audit;
pub(crate) mod clock;
pub(crate) mod command_list;
pub(crate) mod commit;
pub(crate) mod lasting;
pub(crate) mod measurement;
pub(crate) mod nv;
pub(crate) mod object;
pub(crate) mod pcr;
pub(crate) mod platform;
pub(crate) mod policy;
pub(crate) mod selftest;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod tpm;
