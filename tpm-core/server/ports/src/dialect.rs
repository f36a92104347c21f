//! Whose protocol is spoken.

/// Whose protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// The TCG simulator's (`mssim`).
    #[value(name = "mssim")]
    Simulator,
    /// swtpm's.
    Swtpm,
}
