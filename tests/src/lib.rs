//! The host-side suites.
