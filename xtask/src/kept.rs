//! Options of `cargo xtask image` for a TPM's state: the disk, its roots, and anchors (docs/persistence.md).

use crate::successors::octets;
use anchor::quorum::{Cadence, TooFew};
use anchor::{Key, Quorum};
use anyhow::{Context, Result};
use host::devices;
use quoin_image::state::{State, Wanted};

/// What is kept, where, and who knows which state is the newest. All of it is part of the launch digest.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Kept {
    /// Has the firmware keep its TPM's state on a disk of its own (docs/persistence.md), which `guest --state-disk`
    /// gives it: `required`, or `allowed`, where a TPM without a disk is a new one at every boot. Part of the launch
    /// digest.
    #[arg(long, value_name = "WANTED", conflicts_with = "no_guest", value_parser = ["required", "allowed"])]
    state: Option<String>,
    /// Has the firmware look for its console to programs at the host, too; anchors are behind it. Part of the launch
    /// digest.
    #[arg(long, conflicts_with = "no_guest")]
    programs: bool,
    /// The public key of the operator's recovery key, in hexadecimal (`quoin-state recovery-point`): it opens the state
    /// when the firmware cannot.
    #[arg(long, value_name = "POINT", requires = "state", value_parser = octets::<96>)]
    recovery: Option<[u8; 96]>,
    /// The key of an anchor, as `quoin-anchor key` prints it: from 1 to 16 (docs/anchors.md).
    #[arg(long, value_name = "KEY", requires = "state", value_parser = octets::<49>)]
    anchor: Vec<Key>,
    /// So many of them are a quorum: more than half [default: the least].
    #[arg(long, value_name = "K", requires = "anchor")]
    anchor_quorum: Option<u8>,
    /// Every Nth commit is registered before it is acknowledged; 0: boots only.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "anchor")]
    anchor_commits: u32,
    /// How long answers to one request are waited for.
    #[arg(long, value_name = "MS", default_value_t = 10_000, requires = "anchor", value_parser = clap::value_parser!(u32).range(1..))]
    anchor_patience: u32,
    /// Without a quorum the TPM goes on, and every attestation says so.
    #[arg(long, requires = "anchor")]
    anchors_may_be_few: bool,
    /// What anchors keep is a root of the state's key, beside the chip's: none of the two opens it alone.
    #[arg(long, requires = "anchor")]
    anchor_shares: bool,
}

impl Kept {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.state.is_none() && !self.programs
    }

    /// Whether the firmware has a way to programs at the host.
    #[must_use]
    pub const fn has_programs(&self) -> bool {
        self.programs || self.has_anchors()
    }

    /// Whether anchors are named.
    #[must_use]
    pub const fn has_anchors(&self) -> bool {
        !self.anchor.is_empty()
    }

    /// The setting.
    ///
    /// # Errors
    /// Anchors that make no quorum.
    pub fn setting(&self) -> Result<State> {
        let wanted = |wanted: &String| if wanted == "required" { Wanted::Required } else { Wanted::Allowed };
        let state = self.state.as_ref().map_or_else(devices::console, |text| devices::setting(wanted(text)));
        Ok(State {
            console: if self.has_programs() { devices::console().console } else { None },
            recovery: self.recovery,
            share: self.anchor_shares,
            anchors: self.anchors()?,
            ..state
        })
    }

    /// The part that names anchors.
    fn anchors(&self) -> Result<Vec<u8>> {
        if !self.has_anchors() {
            return Ok(Vec::new());
        }
        let least = u8::try_from(self.anchor.len() / 2 + 1).context("too many anchors")?;
        let cadence = if self.anchor_commits == 0 { Cadence::Boot } else { Cadence::Every(self.anchor_commits) };
        let too_few = if self.anchors_may_be_few { TooFew::SaySo } else { TooFew::Refuse };
        let quorum = Quorum::of(self.anchor_quorum.unwrap_or(least), &self.anchor)?
            .with(cadence, too_few)
            .waiting(self.anchor_patience, self.anchor_shares);
        let mut octets = vec![0; Quorum::MAX_SIZE];
        let size = quorum.write(&mut octets).context("no room for the anchors")?;
        octets.truncate(size);
        // The firmware reads it so.
        Quorum::parse(&octets)?;
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use anchor::quorum::{Cadence, TooFew};
    use anchor::{Keys, P384, Quorum};
    use clap::Parser;
    use quoin_verify::digest::hex;

    #[derive(Parser)]
    struct Program {
        #[arg(long)]
        no_guest: bool,
        #[command(flatten)]
        kept: Kept,
    }

    fn kept(more: &[&str]) -> Result<Kept, clap::Error> {
        let program = Program::try_parse_from([&["image"], more].concat())?;
        assert!(!program.no_guest);
        Ok(program.kept)
    }

    #[test]
    fn what_is_said_of_anchors_is_what_the_firmware_reads() {
        let keys = [1, 2, 3].map(|octet| hex(P384::new(&[octet; 48]).unwrap().public()));
        let named = keys.each_ref().map(|key| ["--anchor", key.as_str()]).concat();
        let setting = kept(&[&["--state", "required"], &named[..]].concat()).unwrap().setting().unwrap();
        let quorum = Quorum::parse(&setting.anchors).unwrap();
        assert_eq!((quorum.k(), quorum.n(), quorum.cadence()), (2, 3, Cadence::Every(1)));
        assert!(setting.console.is_some() && !setting.share);
        let more = ["--state=allowed", "--anchor-quorum=3", "--anchor-commits=0", "--anchors-may-be-few"];
        let setting = kept(&[&more[..], &["--anchor-shares"], &named].concat()).unwrap().setting().unwrap();
        let quorum = Quorum::parse(&setting.anchors).unwrap();
        assert_eq!((quorum.k(), quorum.cadence(), quorum.too_few()), (3, Cadence::Boot, TooFew::SaySo));
        assert!(quorum.has_shares() && setting.share);
        let few = kept(&[&["--state=required", "--anchor-quorum=1"], &named[..]].concat()).unwrap();
        assert!(few.setting().is_err(), "one of three is no quorum");
    }

    #[test]
    fn anchors_and_recovery_are_of_a_state() {
        let (key, point) = (hex(&[2; 49]), hex(&[4; 96]));
        for options in [["--anchor", &key], ["--recovery", &point], ["--anchor-quorum", "2"]] {
            assert!(kept(&options).is_err(), "{options:?}");
        }
        let setting = kept(&["--state=required", "--recovery", &point]).unwrap().setting().unwrap();
        assert_eq!((setting.recovery, setting.console), (Some([4; 96]), None));
        let setting = kept(&["--programs"]).unwrap().setting().unwrap();
        assert!(setting.disk.is_none() && setting.console.is_some());
        assert!(kept(&[]).unwrap().is_empty());
    }
}
