//! What the parts of the TPM do.

pub(crate) mod attest;
pub(crate) mod audit;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod dictionary;
pub(crate) mod endorsement;
pub(crate) mod entity;
pub(crate) mod firmware;
pub(crate) mod hierarchy;
pub(crate) mod life;
pub(crate) mod nv;
pub(crate) mod object;
pub(crate) mod pcr;
pub(crate) mod policy;
pub(crate) mod selftest;
pub(crate) mod state;
