//! `cargo xtask doctor`: what works on this computer with what is there. It builds nothing, installs nothing, and does
//! not ask apt.

pub mod facts;
pub mod hardware;
pub mod judge;
pub mod mirror;

use anyhow::{Result, bail};
use facts::{Facts, Qemu};
use hardware::{Host, PARAMETERS};
use host::debian;
use judge::{Finding, Status, USES, Use};
use quoin_verify::screen;
use std::process::ExitCode;

/// Runs the verb.
pub fn run() -> Result<ExitCode> {
    let facts = look()?;
    let findings = judge::findings(&facts);
    println!("What is here");
    findings.iter().for_each(say);
    println!("\nWhat works");
    let mut status = ExitCode::SUCCESS;
    for (what, verbs) in USES {
        let against = judge::against(&findings, what);
        let mut why: Vec<&str> = against.iter().map(|finding| finding.subject).collect();
        why.dedup();
        if why.is_empty() {
            println!("  yes      {verbs}");
        } else {
            screen::say("  NO       ", &format!("{verbs}: for {}", why.join(", ")));
        }
        if !why.is_empty() && matches!(what, Use::Run | Use::Ci) {
            status = ExitCode::FAILURE;
        }
    }
    println!("\nReal SEV-SNP guests, which nothing of this needs");
    say_host(&facts.host, facts.qemu.as_ref());
    Ok(status)
}

/// Says what a guest's boot needs, and installs what it can; fails when something is missing.
pub fn before_a_guest() -> Result<()> {
    let facts = look()?;
    let findings: Vec<_> =
        judge::findings(&facts).into_iter().filter(|one| one.needed_by.contains(&Use::Guest)).collect();
    findings.iter().for_each(say);
    if !judge::against(&findings, Use::Guest).is_empty() {
        bail!("something is missing; `cargo xtask doctor` says what works without it");
    }
    let programs = judge::programs().into_iter().filter(|(_, uses)| uses.contains(&Use::Guest));
    debian::ensure(&programs.map(|(wanted, _)| wanted).collect::<Vec<_>>())
}

fn look() -> Result<Facts> {
    Facts::look(&judge::programs().into_iter().map(|(wanted, _)| wanted).collect::<Vec<_>>())
}

fn say(finding: &Finding) {
    let status = match finding.status {
        Status::Fine => "ok",
        Status::Comes => "comes",
        Status::Note => "note",
        Status::Missing => "MISSING",
    };
    screen::say(&format!("  {status:<8} {:<17} ", finding.subject), &finding.text);
}

fn say_host(host: &Host, qemu: Option<&Qemu>) {
    let line = |subject: &str, text: &str| screen::say(&format!("  {subject:<12} "), text);
    let yes = |is: bool| if is { "yes" } else { "no" };
    let within = if host.virtual_machine { "; this is a virtual machine" } else { "" };
    line("processor", &format!("{}{within}", host.processor));
    let bits = &host.encryption;
    let shown = [("SEV", bits.sev), ("SEV-ES", bits.sev_es), ("SEV-SNP", bits.snp), ("VMPLs", bits.vmpl)];
    let shown: Vec<String> = shown.iter().map(|(name, is)| format!("{name} {}", yes(*is))).collect();
    line("shows", &format!("{}, C-bit {}", shown.join(", "), bits.c_bit));
    line("kernel", &host.kernel);
    let parameters =
        PARAMETERS.iter().zip(host.parameters).map(|(name, value)| format!("{name} {}", value.map_or("?", yes)));
    line("kvm_amd", &parameters.collect::<Vec<_>>().join(", "));
    line("devices", &format!("/dev/kvm {}, /dev/sev {}", yes(host.kvm), yes(host.sev)));
    let features =
        |qemu: &Qemu| format!("KVM {}, sev-snp-guest {}, igvm-cfg {}", yes(qemu.kvm), yes(qemu.snp), yes(qemu.igvm));
    line("QEMU", &qemu.map_or_else(|| "none".to_owned(), features));
    let mut against = host.against();
    if !qemu.is_some_and(|qemu| qemu.kvm && qemu.snp && qemu.igvm) {
        against.push(
            "QEMU does not launch IGVM files as SEV-SNP guests (10.1 and later can, if built with libigvm)".to_owned(),
        );
    }
    if against.is_empty() {
        line(
            "verdict",
            "nothing is known against it. Whether the kernel runs VMPLs shows when the firmware boots (README)",
        );
    } else {
        line("verdict", &format!("no: {}", against.join("; ")));
    }
}
