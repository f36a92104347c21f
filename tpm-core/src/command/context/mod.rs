//! Part 3, 28: Context Management.

pub(crate) mod context_load;
pub(crate) mod context_save;
pub(crate) mod evict_control;
pub(crate) mod flush_context;
