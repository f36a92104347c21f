//! The TPM at the boot where it may leave for another firmware, or come from one (docs/migration.md).

use alloc::boxed::Box;

use keeper::moving::{Arrivals, Berth, Home, Leaving, Movable, Shared, Stand, Way, arrive, give_receipts, start_anew};
use keeper::refused;
use kernel::clock::ASSUMED_KHZ;
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::{Keeper, Platform};
use migration::Wiped;
use migration::{Pending, Refusal, Terms, Tombstone};
use relay::{Counter, Framed, service};
use snp::instr::{pause, rdtsc};
use tpm_core::{Clock, Entropy};

use crate::host::{PspReports, say};
use crate::programs::{Programs, Wire};
use crate::state::Begun;

/// Between two looks at the relay where nothing else is to be done, and between two questions for a receipt.
const LOOK_US: u64 = 200;
const ASK_LOOKS: u32 = 5_000;

/// The relay of the migration's service.
type Mail = Counter<'static, Framed<Wire>>;

/// What the boot knows of it.
pub struct Moves {
    /// Who may come before and after, and the way to the other side. `None`: the TPM neither leaves nor comes.
    terms: Option<&'static Terms>,
    programs: Option<Programs>,
    /// What arrives is powered off and on.
    starts_anew: bool,
}

impl Moves {
    /// By this setting, and this way. `starts_anew`: what arrives is powered off and on, since the boot makes something
    /// of it (PCRs, or a vTPM as Azure's).
    #[must_use]
    pub fn new(terms: Option<Terms>, programs: Option<Programs>, starts_anew: bool) -> Self {
        Self { terms: terms.map(|terms| &*Box::leak(Box::new(terms))), programs, starts_anew }
    }

    /// No TPM is made here.
    pub(crate) fn receives(&self) -> bool {
        self.terms.is_some_and(|terms| terms.receives)
    }

    /// The TPM may leave.
    pub(crate) fn is_possible(&self) -> bool {
        self.way().is_some_and(|(terms, _)| terms.lets_go())
    }

    fn way(&self) -> Option<(&'static Terms, Mail)> {
        self.terms.zip(self.programs).map(|(terms, programs)| (terms, programs.counter(service::MIGRATION)))
    }

    /// Waits until the TPM is here.
    ///
    /// # Errors
    /// `State`: it cannot come; `Disk`.
    #[inline(never)]
    pub(crate) fn arrive<E: Entropy, C: Clock>(
        &self,
        platform: &mut Platform<E, C>,
        reports: &mut PspReports,
        waits: Option<(Pending, Wiped)>,
        berth: &mut dyn Berth,
        khz: Option<u64>,
    ) -> Result<(), Fatal> {
        let nothing = || Fatal::new(Reason::State, format_args!("a TPM is to come, and there is no way for it"));
        let (terms, mut relay) = self.way().ok_or_else(nothing)?;
        match &waits {
            None => say("migration", format_args!("a TPM is to come")),
            Some((pending, _)) => {
                say("migration", format_args!("a TPM of epoch {} waits for its receipt", pending.epoch));
            }
        }
        let with = Arrivals { platform: &mut *platform, reports, berth };
        let arrival = arrive(terms, waits, &mut relay, with, &mut pace(khz)).map_err(ended)?;
        if self.starts_anew {
            start_anew(platform).map_err(ended)?;
        }
        let (epoch, _) = arrival.last;
        say("tpm", format_args!("arrived, of epoch {epoch}, {} ms", platform.now_ms()));
        Ok(())
    }

    /// The TPM is kept, and may leave.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) fn begun<E: Entropy, C: Clock, K: Keeper + Home + Send + 'static>(
        &self,
        mut tpm: Platform<E, C>,
        keeper: K,
    ) -> Result<Begun<E, C>, Fatal> {
        let (keeper, home) = Shared::new(keeper);
        tpm.keep_by(Box::new(keeper)).ok_or_else(Fatal::plain(Reason::Disk))?;
        Ok(Begun { tpm, home: self.is_possible().then(|| Box::new(home) as Box<dyn Home + Send>) })
    }

    /// The TPM lives elsewhere: there is no guest, and the receipt for whoever asks, for ever. Where nobody can ask,
    /// that is the end.
    pub(crate) fn give_receipts(&self, tombstone: Tombstone, khz: Option<u64>) -> Fatal {
        if let Some((terms, mut relay)) = self.way() {
            say("migration", format_args!("the TPM has moved; whoever asks is given its receipt"));
            let mut pace = pace(khz);
            give_receipts(terms, tombstone, &mut relay, &mut || pace());
        }
        refused(keeper::Refusal::Moved)
    }

    /// The TPM as the guest calls it.
    #[must_use]
    pub fn movable<E: Entropy, C: Clock>(&self, begun: Begun<E, C>) -> Movable<E, C, Mail> {
        let Begun { tpm, home } = begun;
        let way = self.way().zip(home).map(|((terms, relay), home)| Way::new(Leaving::new(terms), relay, home, tell));
        Movable::new(tpm, way)
    }
}

fn tell(stand: Stand) {
    match stand {
        Stand::Here => {}
        Stand::Stayed(why) => say("migration", format_args!("the TPM stays: {why}")),
        Stand::Moved => say("migration", format_args!("the TPM has moved")),
        Stand::Unsure => say("migration", format_args!("the next boot knows whether the TPM has moved")),
    }
}

fn ended(why: Refusal) -> Fatal {
    let reason = if why == Refusal::Disk { Reason::Disk } else { Reason::State };
    Fatal::new(reason, format_args!("the TPM that is to come: {why}"))
}

/// Waits a little at each call, and says now and then that it is time to ask.
fn pace(khz: Option<u64>) -> impl FnMut() -> Option<bool> {
    let ticks = khz.unwrap_or(ASSUMED_KHZ).saturating_mul(LOOK_US) / 1000;
    let mut looks = 0;
    move || {
        let start = rdtsc();
        while rdtsc().wrapping_sub(start) < ticks {
            pause();
        }
        looks = (looks + 1) % ASK_LOOKS;
        Some(looks == 0)
    }
}
