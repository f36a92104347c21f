//! Two octets that select what the rest is read as: a command's parameters, or a structure, which then must have one
//! form alone.

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((which, bytes)) = input.split_first_chunk() else { return };
    tpm_core::fuzz::unmarshal(u16::from_be_bytes(*which), bytes).expect("one form");
}
