//! Options of `cargo xtask image` for a TPM that may move (docs/migration.md).

use anyhow::{Context, Result, ensure};
use migration::{Measurement, Terms};

/// Who may come before and after the firmware. All of it is part of the launch digest.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Successors {
    /// The public key of the state's owner, in hexadecimal (`quoin-state owner-point`): whose grants say where the TPM
    /// may go, and where it may come from.
    #[arg(long, value_name = "POINT")]
    owner: Option<String>,
    /// The launch digest of a firmware to which the TPM may go.
    #[arg(long, value_name = "DIGEST", value_parser = measurement)]
    successor: Vec<Measurement>,
    /// The launch digest of a firmware from which it may come.
    #[arg(long, value_name = "DIGEST", value_parser = measurement)]
    predecessor: Vec<Measurement>,
    /// It may go to this very image, on another chip.
    #[arg(long)]
    follows_itself: bool,
    /// No TPM is made here: it comes by migration.
    #[arg(long)]
    no_new_tpm: bool,
    /// Chips of the software machine are as good as AMD's. For development: everybody has their keys.
    #[arg(long)]
    development_chips: bool,
}

impl Successors {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { owner, successor, predecessor, follows_itself, no_new_tpm, development_chips } = self;
        let lists = successor.is_empty() && predecessor.is_empty();
        owner.is_none() && lists && !follows_itself && !no_new_tpm && !development_chips
    }

    /// No TPM is made here.
    #[must_use]
    pub const fn receives(&self) -> bool {
        self.no_new_tpm
    }

    /// The setting's octets.
    ///
    /// # Errors
    /// A key that is none, too many digests, or a firmware that takes in from nobody.
    pub fn octets(&self) -> Result<Vec<u8>> {
        let terms = Terms {
            development_root: self.development_chips,
            itself: self.follows_itself,
            receives: self.no_new_tpm,
            owner: self.owner.as_deref().map(owner).transpose()?,
            successors: self.successor.clone(),
            predecessors: self.predecessor.clone(),
            ..Terms::default()
        };
        ensure!(!terms.receives || terms.takes_in(), "no TPM is made here, and none may come: name whom it may follow");
        let octets = terms.octets().context("the successors")?;
        // The firmware reads it so.
        Terms::parse(&octets).context("the successors")?;
        Ok(octets)
    }
}

/// So many octets, of hexadecimal digits.
pub(crate) fn octets<const N: usize>(text: &str) -> Result<[u8; N]> {
    let digits = text.trim();
    let at = |at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let all: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(at).collect();
    all.and_then(|all| all.try_into().ok()).with_context(|| format!("not {N} octets in hexadecimal"))
}

fn measurement(text: &str) -> Result<Measurement> {
    octets(text)
}

fn owner(text: &str) -> Result<[u8; 96]> {
    octets(text).context("the owner's key")
}

#[cfg(test)]
mod tests {
    use super::{Successors, measurement};
    use migration::Terms;
    use quoin_verify::digest::hex;

    #[test]
    fn what_is_said_is_what_the_firmware_reads() {
        let digest = hex(&[0x5a; 48]);
        let args = Successors {
            predecessor: vec![measurement(&digest).unwrap()],
            no_new_tpm: true,
            development_chips: true,
            ..Successors::default()
        };
        let terms = Terms::parse(&args.octets().unwrap()).unwrap();
        assert_eq!((terms.predecessors, terms.receives, terms.development_root), (vec![[0x5a; 48]], true, true));
        assert!(Successors::default().is_empty() && !args.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(measurement("5a").is_err() && measurement(&"zz".repeat(48)).is_err());
        let none = Successors { no_new_tpm: true, ..Successors::default() };
        assert!(none.octets().unwrap_err().to_string().contains("none may come"));
        let off_the_curve = Successors { owner: Some("11".repeat(96)), ..Successors::default() };
        assert!(off_the_curve.octets().is_err());
    }
}
