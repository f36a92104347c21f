//! Settings that are out of shape: each way has its own reason, before any of the guest's memory changes.

use super::{Images, SETTINGS, refused, starts};
use crate::{Totals, case};
use anyhow::{Context, Result};
use quoin_image::guest::Interrupts;
use quoin_image::settings::{Setting, Settings};

/// What stands for octets of a setting that are looked for in the file.
const MARK: &[u8; 11] = b"QUOIN MARK.";

pub(super) fn run(images: &Images) -> Result<Totals> {
    let good = b"\x01\0\0\0".as_slice();
    let policy = |octets: &[u8]| Settings::default().with(Setting::Policy, octets);
    let built = |settings| images.with(settings, Interrupts::Any);
    let mut totals = case("a policy of no rules", starts(&built(policy(good))?, "", "0 rules, 0 not met"));
    for (says, settings) in [
        ("Unknown(5)", Settings::default().with_kind(5, b"")),
        ("Twice(1)", policy(good).with(Setting::Policy, good)),
        ("the successors", policy(good).with(Setting::Successors, b"x")),
        ("Version", policy(b"\x02\0\0\0")),
        ("Short", policy(b"\x01\0\x01\0")),
        ("Behind", policy(b"\x01\0\0\0\0")),
        ("Rule(63)", policy(b"\x01\0\x01\0\x63\0\0\0")),
        ("Value(2)", policy(b"\x01\0\x01\0\x02\0\x01\0\0")),
        ("Otherwise(2)", policy(b"\x01\0\x01\0\x02\x02\0\0")),
        ("Order(2)", policy(b"\x01\0\x02\0\x02\0\0\0\x02\0\0\0")),
    ] {
        totals += case(&format!("settings: {says}"), refused(&built(settings)?, "", SETTINGS, says));
    }
    // In the file: from the mark on, an octet is another one.
    let marked = built(policy(MARK))?.image.bytes;
    let start = marked.windows(MARK.len()).position(|octets| octets == MARK).context("no mark")? - 8;
    for (says, at, octet) in
        [("Reserved(1)", 2, 1), ("TooLong(1)", 7, 1), ("Padding(1)", 8 + MARK.len(), 1), ("Behind", 4000, 1)]
    {
        let mut bytes = marked.clone();
        bytes[start + at] = octet;
        totals += case(&format!("settings: {says}"), refused(&images.of(bytes)?, "", SETTINGS, says));
    }
    Ok(totals)
}
