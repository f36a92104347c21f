//! What is done with NV Indices (Part 1, 34).

mod access;
mod definition;
mod pin;

pub(crate) use definition::DefinitionAt;
