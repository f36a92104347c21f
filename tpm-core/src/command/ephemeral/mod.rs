//! Part 3, 19: Ephemeral EC Keys.

pub(crate) mod commit;
pub(crate) mod ec_ephemeral;
