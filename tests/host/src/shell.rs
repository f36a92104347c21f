//! For scripts that a suite judges by their exit status.

/// Defines `not COMMAND`, which fails if the command does not. `! COMMAND` would end no script that goes on behind it,
/// even under `set -e`.
pub const NOT: &str = "not() { if \"$@\"; then echo \"not refused: $*\"; return 1; fi; }\n";

/// Whether a script negates by `!` what it then goes on without.
#[must_use]
pub fn negates(script: &str) -> bool {
    let words: Vec<&str> = script.split_whitespace().collect();
    words.contains(&"!")
}
