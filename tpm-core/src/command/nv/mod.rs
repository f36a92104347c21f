//! Part 3, 31: Non-volatile Storage.

pub(crate) mod certify;
pub(crate) mod define_space;
pub(crate) mod extend;
pub(crate) mod increment;
pub(crate) mod read;
pub(crate) mod read_lock;
pub(crate) mod read_public;
pub(crate) mod set_bits;
pub(crate) mod undefine_space;
pub(crate) mod write;
pub(crate) mod write_lock;
