//! Part 3, 17: Hash/HMAC/Event Sequences.

pub(crate) mod event_sequence_complete;
pub(crate) mod hash_sequence_start;
pub(crate) mod mac_start;
pub(crate) mod sequence_complete;
pub(crate) mod sequence_update;
