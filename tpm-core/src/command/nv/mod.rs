//! Part 3, 31: Non-volatile Storage.

pub(crate) mod certify;
pub(crate) mod change_auth;
pub(crate) mod define_space;
pub(crate) mod define_space_2;
pub(crate) mod extend;
pub(crate) mod global_write_lock;
pub(crate) mod increment;
pub(crate) mod read;
pub(crate) mod read_lock;
pub(crate) mod read_public;
pub(crate) mod read_public_2;
pub(crate) mod set_bits;
pub(crate) mod undefine_space;
pub(crate) mod undefine_space_special;
pub(crate) mod write;
pub(crate) mod write_lock;
