//! What a client says, as far as it is read.

use crate::wire::Pending;
use anyhow::Result;
use core::time::Duration;
use std::io::{BufRead, BufReader, Read};

/// The longest command that is read, though it is refused. Over TCP a longer one ends the connection, as does what a
/// browser was made to send: four letters are a larger number.
pub(super) const MAX_REFUSED: u32 = 1 << 20;
/// How long the rest may take of what is refused whatever it is.
const PATIENCE: Duration = Duration::from_millis(50);

/// Takes octets as long as they come, `count` at most, and keeps the first of them until there are `kept` in `command`.
pub(super) fn gather(
    line: &mut BufReader<impl Read + Pending>,
    count: u64,
    kept: usize,
    command: &mut Vec<u8>,
) -> Result<()> {
    let mut left = count;
    while left > 0 && (!line.buffer().is_empty() || line.get_ref().is_pending(PATIENCE)?) {
        let there = line.fill_buf()?;
        let taken = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if taken == 0 {
            break;
        }
        command.extend_from_slice(&there[..taken.min(kept.saturating_sub(command.len()))]);
        line.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// Octets that are more than the buffer has.
pub(super) fn beyond(limit: u32) -> usize {
    usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_add(1))
}
