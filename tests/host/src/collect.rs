//! Gathering evidence ([`quoin_verify::evidence`]) through the relay to the payload at VMPL2: [`collect`] plays the
//! guest's agent and the challenger.

use crate::relay::{AttestCall, Attestation, Relay, result_name};
use anyhow::{Context, Result, ensure};
use quoin_verify::chip::{ARK_GUID, ASK_GUID, VCEK_GUID, certificate};
use quoin_verify::evidence::event_log::{self, Event, EventLog};
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::evidence::wire::tpm2b;
use quoin_verify::evidence::{manifest, template};
use quoin_verify::tcti::Transport;
use quoin_verify::tcti::client::Tpm;
use quoin_verify::tcti::gather::challenge;
pub use quoin_verify::tcti::gather::random;
use std::path::Path;

/// The vTPM service, c476f1eb-0123-45a5-9641-b4e7dde5bfe3, as it lies in memory.
pub const VTPM_GUID: [u8; 16] =
    [0xEB, 0xF1, 0x76, 0xC4, 0x23, 0x01, 0xA5, 0x45, 0x96, 0x41, 0xB4, 0xE7, 0xDD, 0xE5, 0xBF, 0xE3];

/// Gathers evidence from a freshly started guest and writes the folder `dir`; `measurement` is the launch digest that
/// the report should show.
///
/// Fails when PCRs were extended before: their event log is not here, so the quote could not be explained.
pub fn collect(relay: &mut dyn Relay, measurement: &[u8; 48], dir: &Path) -> Result<()> {
    gather(relay, measurement)?.write(dir)
}

/// Gathers evidence; `measurement` is the launch digest that the report should show.
pub fn gather(relay: &mut dyn Relay, measurement: &[u8; 48]) -> Result<Evidence> {
    let mut evidence = Evidence { measurement: measurement.to_vec(), ..Evidence::default() };
    attest(relay, &mut evidence).context("SVSM attestation")?;
    let mut through = Through(relay);
    let mut tpm = Tpm::new(&mut through);
    tpm.startup()?;
    let (ek, ek_public) = tpm.create_primary(&template::ek_rsa_2048())?;
    let attested = manifest::ek(&evidence.manifest)?.to_bytes();
    ensure!(ek_public == attested, "the TPM's EK is not the one in the attested manifest");
    let (ak, ak_public) = tpm.create_primary(&template::ak_p256())?;
    evidence.ak = tpm2b(&ak_public);
    challenge(&mut tpm, ak, ek, &mut evidence).context("credential activation")?;
    tpm.flush(ek)?;
    measure_events(&mut tpm, &mut evidence)?;
    quote(&mut tpm, ak, &mut evidence)?;
    tpm.flush(ak)?;
    Ok(evidence)
}

/// Asks VMPL0 for a report over a fresh nonce and the manifest of all services: it says what state the TPM runs, and
/// what the firmware has not found met of its policy.
fn attest(relay: &mut dyn Relay, evidence: &mut Evidence) -> Result<()> {
    evidence.nonce = random::<64>()?.to_vec();
    let Attestation { rax, report, manifest, certificates } = relay.attest(AttestCall::Services, 0, &evidence.nonce)?;
    ensure!(rax == 0, "{}", result_name(rax));
    ensure!(
        !certificates.is_empty(),
        "the host gave no certificates; they would have to come from AMD's key distribution service"
    );
    evidence.ark = certificate(&certificates, ARK_GUID)?.to_vec();
    evidence.ask = certificate(&certificates, ASK_GUID)?.to_vec();
    evidence.vcek = certificate(&certificates, VCEK_GUID)?.to_vec();
    evidence.report = report;
    evidence.manifest = manifest;
    evidence.certificates = certificates;
    Ok(())
}

/// Measures what identifies this evidence, and logs it.
fn measure_events(tpm: &mut Tpm<'_>, evidence: &mut Evidence) -> Result<()> {
    ensure!(
        tpm.pcr_read()? == event_log::initial_pcrs(),
        "PCRs were extended before, and their event log is not here; start the guest anew to collect evidence"
    );
    let events = [Event::of_report(&evidence.nonce), Event::of_key(&evidence.ak_name)];
    let mut log = EventLog { banks: Vec::new(), events: events.into() };
    for event in &log.events {
        log.banks = tpm.pcr_event(event.pcr, event.measured())?;
    }
    evidence.events = log.to_bytes()?;
    evidence.pcrs = tpm.pcr_read()?.concat();
    Ok(())
}

fn quote(tpm: &mut Tpm<'_>, ak: u32, evidence: &mut Evidence) -> Result<()> {
    evidence.quote_nonce = random::<32>()?.to_vec();
    let quote = tpm.quote(ak, &evidence.quote_nonce)?;
    evidence.quote = quote.attest;
    evidence.quote_signature = quote.signature;
    Ok(())
}

/// The TPM behind a relay.
pub struct Through<'a>(pub &'a mut dyn Relay);

impl Transport for Through<'_> {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.0.tpm(command)
    }
}
