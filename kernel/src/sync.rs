//! The lock that processors share things by. An alias, so that the decision code can be compiled with another: that of
//! the explored model (docs/model.md).

pub use spin::Mutex;
