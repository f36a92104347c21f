//! What is done with objects (Part 1, 27).

pub(crate) mod create;
pub(crate) mod exchange;
pub(crate) mod key;
pub(crate) mod load;
pub(crate) mod message;
pub(crate) mod protect;
pub(crate) mod sign;
mod slots;
pub(crate) mod template;
mod ticket;
