//! One command for everything: `cargo xtask help` is its manual.

use anyhow::Result;
use clap::{Parser, Subcommand};
use host::wrapper;
use quoin_verify::{pipe, program};
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use tpm_ports::logging::{self, LevelFilter};
use xtask::{
    anchors, bench, boots, capi, ci, clients, conformance, deb, demo, disk, doctor, flips, fuzz, guest, image, measure,
    memory, migrate, mutants, needs, proofs, run, simulate, status, test, tpm, vectors,
};

/// Builds, measures, boots, attests and tests Quoin, a vTPM at VMPL0 of an AMD SEV-SNP guest.
///
/// No confidential hardware is needed: the image boots in a software SEV-SNP machine (tests/machine) on plain QEMU.
/// That machine is for development and tests; it protects nothing.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = status::TABLE)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Boot the image in the software SEV-SNP machine, verify its evidence, and serve its TPM on a local port.
    ///
    /// Builds what is out of date, packs the image, prints the launch digest computed from it, boots it in QEMU and
    /// shows what happens as it happens. Then collects evidence (report, certificates, EK, quote), verifies it, and
    /// serves the firmware's TPM to real clients until Ctrl-C. QEMU is installed through apt-get where that needs no
    /// password.
    Run(run::Args),
    /// Show Linux at VMPL2 with its TPM: a secret sealed to PCRs, evidence verified; then a changed word of its command
    /// line refused.
    ///
    /// Boots Debian's newest cloud kernel twice in the software SEV-SNP machine, and ends by itself. What is missing is
    /// said first. Packages are fetched once, through apt-get.
    Demo(demo::Args),
    /// Say which verbs work on this computer, and what is missing: QEMU, packages, memory, disk, ports, Debian's
    /// suites, Rust.
    ///
    /// And what speaks against real SEV-SNP guests on it. Builds and installs nothing. Exit status: 0 when `run` and
    /// `ci` work, 1 when not.
    Doctor,
    /// Run all tests, the fast ones first; the last line is `N passed, N failed`.
    ///
    /// Unit tests and properties on the host; then the image (the same bytes from two folders, the committed launch
    /// digest), the hostile guest and the machine's rules in QEMU; then Linux and OVMF at VMPL2, for which packages of
    /// Debian are fetched. What is missing of Debian's packages is installed through apt-get where that needs no
    /// password.
    Test(test::Args),
    /// Everything that a change must pass: format, lints, documentation, licences of crates by others, then all tests.
    Ci(ci::Args),
    /// Show that no panic survives in the linked engine: print those that do, with their places in the sources.
    ///
    /// What stays of other people's crates is in tests/panics/allowed.txt, with the reason why it cannot be reached.
    /// The control, a program with a panic, must be found.
    Panics,
    /// Print how many lines of the engine its tests run, a folder a line; fail below 95 %.
    Coverage(proofs::Coverage),
    /// List the response codes that are documented at commands and that no test has got.
    Codes,
    /// Change the sources in some 600 places, one at a time, and print which changes no test notices, an area a line.
    ///
    /// The places are drawn from the engine's pipeline, policies, sessions, NV, dictionary protection and objects, from
    /// the channel to the PSP and the GHCB, and from the firmware's memory and services. A change that is not noticed
    /// must be listed with its reason in xtask/survivors.txt. Takes an hour and more; `--resume` goes on with what was
    /// interrupted. cargo-mutants is installed first.
    Mutants(mutants::Args),
    /// Send what the tests of published attacks and known mistakes send to Debian's swtpm, and print where it answers
    /// otherwise.
    Beside,
    /// Run the firmware's decision code on two and three processors in every order of their steps, and find the faults
    /// that are planted in copies of it.
    ///
    /// The code is that of kernel/src: ownership, page states, vCPUs, the handlers of all protocols. Memory, RMP, TLBs
    /// and register states are a model. Takes some minutes; the tests have a short form (docs/model.md).
    Explore(proofs::Explore),
    /// Print what the firmware takes of memory for 1 to 256 vCPUs and 384 MiB to 4 TiB of RAM: booted where the machine
    /// can, computed by the firmware's own map and allocator elsewhere.
    Memory,
    /// Make up every exception that a host can, at more than a thousand points of the firmware's boot: each must end it
    /// with a reason.
    ///
    /// All 256 vectors, with and without an error code, and #VC with every exit code. Takes a quarter of an hour; the
    /// suite of lies has a short form.
    Exceptions(boots::Exceptions),
    /// Have one vCPU of a guest change what a call of the other goes by, and both use the TPM, so many times each.
    ///
    /// The suite of that name has a short form.
    TwoVcpus(boots::TwoVcpus),
    /// Have a host do to a running guest, at each instruction of a call, what it can, and a guest create a vCPU from
    /// register states in which each bit is flipped.
    ///
    /// Exceptions, and the loss of each page that the firmware touches. The suite `lies of the host to a running guest`
    /// has a short form, and what a host can do with AP creation and with the order in which VMPLs run.
    Lies(boots::Lies),
    /// Compare PVALIDATE calls beside the making of RSA keys on another processor with those of an idle firmware, in
    /// instructions: fail beyond 20 %.
    BesideKeys,
    /// Send TPM commands of every kind to the firmware, and print the longest hold of each, in instructions.
    Holds(boots::Holds),
    /// Judge an evidence folder offline: certificates, report, measurement, EK, AK, quote, PCRs, step by step.
    Verify(Box<program::Args>),
    /// Judge evidence that you have, and then with each single bit of report, manifest, claims, quote, PCRs and
    /// certificates flipped: each must be refused.
    Flips(Box<program::Args>),
    /// Build the measured image (an IGVM file), print its size, its bytes by crate and its launch digest.
    Image(Box<image::Args>),
    /// Prove what is written to the firmware's disk: QEMU killed 200 times, a history of 300 commands cut after every
    /// sector, the time that a command waits.
    Disk(disk::Args),
    /// Boot an image with an operating system in the software SEV-SNP machine, with its serial console on the terminal.
    Guest(guest::Args),
    /// Move a TPM from one running machine to another with a new firmware and another chip, and print each step.
    ///
    /// It has keys, objects, an index that counts, PCRs and a session in use, and all of that is there afterwards; the
    /// evidence of the destination is verified and says where it came from, and both are started once more. The suite
    /// `state: it moves` has refusals and cuts.
    Migrate(migrate::Args),
    /// Boot again and again, of every kind by turns: our payload, Linux, OVMF with Linux, power-off, restart, panic. No
    /// boot is tried twice.
    Boots(boots::Boots),
    /// Print how long Linux takes to userland, directly and by OVMF, and which part of it is the firmware's: in ms and
    /// in instructions.
    BootTimes(boots::BootTimes),
    /// Serve the TPM engine on local ports, without firmware or machine: for developing clients, for QEMU, and for
    /// suites by others.
    Tpm(tpm::Args),
    /// Give the TPM in a folder certificates of its endorsement keys, its attestation key and its device identity.
    ///
    /// Builds that server, which does it: `cargo xtask provision --state DIR --development-ca DIR`.
    Provision(tpm::Provision),
    /// Make a Debian package of that server, quoin-tpm, in target/deb: program, manual page, completions, systemd unit.
    ///
    /// cargo-deb is installed into target/tools.
    Deb,
    /// Make the engine a library for programs in C, in target/capi: header, static and shared library, pkg-config file.
    Capi(capi::Args),
    /// Run test suites by others against the TPM engine's server, and print a table.
    ///
    /// tpm2-tss' integration tests, tpm2-pytss, tss-esapi, the kernel's selftests, round trips of Debian's clients, and
    /// clients of the certificates that the server's program makes.
    /// They are fetched by the clients of package registries (apt-get, pip, cargo), built, and kept below
    /// target/suites; the first run takes long.
    Conformance(conformance::Args),
    /// Put programs by others before our TPM and its evidence, and print which pass, in which version: tpm2-tools,
    /// OpenSSL, FAPI, keylime, go-attestation, go-sev-guest, snpguest, az-snp-vtpm, systemd and more.
    ///
    /// With the server's TPM, or the firmware's in the software machine. What each has sent is kept by step from the
    /// trace; `cargo xtask figures` writes both tables into docs/clients.md. Programs are fetched by the clients of
    /// package registries (apt-get, pip, cargo), and the first run compiles for half an hour; the suite `clients` of
    /// `test` is those that are there anyway.
    Clients(clients::Args),
    /// Run NIST's published vectors (CAVP) and those of RFCs through the engine's cryptography, and print a table.
    ///
    /// Hashes, MACs, key derivations, the generator, ciphers, RSA, elliptic curves, ML-KEM and ML-DSA. They are fetched
    /// by the clients of package registries (pip, apt-get) and kept below target/vectors. Wycheproof's cases are one of
    /// the engine's tests.
    Vectors,
    /// Make thousands of RSA primary keys and print statistics of them: common factors, distributions, ROCA's
    /// fingerprint.
    Keys(vectors::Keys),
    /// Look for secrets in the time of RSA decryption, ECDSA and authorization: Welch's t-test between two classes, and
    /// counted instructions.
    ///
    /// A comparison that ends at the first difference is the control, which must be found. valgrind is installed
    /// through apt-get where that needs no password.
    Timing(vectors::Timing),
    /// Measure the speed of every common command, by turns with Debian's libtpms in the same process, and print a
    /// table.
    ///
    /// The engine is measured as the firmware builds it and as a release build. libtpms is installed through apt-get
    /// where that needs no password.
    Bench(bench::Args),
    /// Measure what the engine needs of whoever embeds it: the stack of each call, and the memory of 1,000 TPMs in one
    /// process.
    ///
    /// As a release build, and without optimisation. Fails beyond 256 KiB of stack, or 1 MiB.
    Needs,
    /// Fuzz the engine: the unmarshaller, the import of a state, or commands in a row, with the engine's own invariants
    /// as judge.
    ///
    /// Guided by coverage (libFuzzer, on the stable compiler). The corpus begins with what tpm-core's tests say and is
    /// kept below target/fuzz.
    Fuzz(fuzz::Args),
    /// Simulate what disks, networks and hosts do to a TPM's kept state, by a seed: a million schedules.
    ///
    /// A schedule that shows a fault is printed step by step, with its seed. The tests have a short form.
    Simulate(simulate::Args),
    /// Print what a boot and a commit take with three anchors on this computer.
    Anchors,
    /// Write what the other verbs have measured here into docs/: figures.md, conformance.md, threats.md,
    /// clients.md and others.
    ///
    /// Each keeps its figure below target/figures when it succeeds, or its table below target/pages when it has run
    /// completely. Rows and tables that nothing was measured for stay.
    Figures,
    /// Print the launch digest of an IGVM file: 96 hexadecimal digits.
    ///
    /// The digest is computed from the file alone, by code that shares nothing with the machine that launches it. It is
    /// the MEASUREMENT that the attestation report of a guest launched from this file must show.
    Measure(measure::Args),
}

fn main() -> ExitCode {
    if wrapper::is_asked_for() {
        return as_wrapper();
    }
    let verb = Cli::parse().verb;
    pipe::until_it_is_closed(|| match run(verb) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(verb: Verb) -> Result<ExitCode> {
    logging::start(LevelFilter::Info, None)?;
    match verb {
        Verb::Run(args) => run::run(&args)?,
        Verb::Demo(args) => return demo::run(&args),
        Verb::Doctor => return doctor::run(),
        Verb::Test(args) => return test::run(&args),
        Verb::Ci(args) => return ci::run(&args),
        Verb::Image(args) => image::run(&args)?,
        Verb::Guest(args) => return guest::run(&args),
        Verb::Disk(args) => disk::run(&args)?,
        Verb::Migrate(args) => migrate::run(&args)?,
        Verb::Boots(args) => return boots::boots(&args),
        Verb::BootTimes(args) => boots::boot_times(&args)?,
        Verb::Tpm(args) => tpm::run(&args)?,
        Verb::Provision(args) => tpm::provision(&args)?,
        Verb::Deb => deb::run()?,
        Verb::Capi(args) => capi::run(&args)?,
        Verb::Panics => return proofs::panics(),
        Verb::Coverage(args) => return proofs::coverage(&args),
        Verb::Explore(args) => return proofs::explore(&args),
        Verb::Memory => memory::run()?,
        Verb::Exceptions(args) => return boots::exceptions(&args),
        Verb::TwoVcpus(args) => return boots::two_vcpus(&args),
        Verb::Lies(args) => return boots::lies(&args),
        Verb::BesideKeys => booted::calls::beside_keys()?,
        Verb::Holds(args) => boots::holds(&args)?,
        Verb::Codes => return proofs::codes(),
        Verb::Mutants(args) => return mutants::run(&args),
        Verb::Needs => return needs::run(),
        Verb::Beside => return proofs::beside(),
        Verb::Fuzz(args) => fuzz::run(&args)?,
        Verb::Simulate(args) => return simulate::run(&args),
        Verb::Anchors => return anchors::cost(),
        Verb::Conformance(args) => return conformance::run(&args),
        Verb::Clients(args) => return clients::run(&args),
        Verb::Vectors => return vectors::vectors(),
        Verb::Keys(args) => return vectors::keys(&args),
        Verb::Timing(args) => return vectors::timing(&args),
        Verb::Bench(args) => return bench::run(&args),
        Verb::Verify(args) => return program::run(&args),
        Verb::Flips(args) => return flips::run(&args),
        Verb::Figures => figures()?,
        Verb::Measure(args) => measure::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the verb `figures`.
fn figures() -> Result<()> {
    let rows = host::figures::write(&host::workspace::root()?.join("docs/figures.md"))?;
    rows.iter().for_each(|row| println!("{row}"));
    println!("{} rows of docs/figures.md are new", rows.len());
    for block in host::pages::write()? {
        println!("{}: {block:?} is new", block.page());
    }
    Ok(())
}

/// Cargo has called us instead of rustc.
fn as_wrapper() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match wrapper::run(&arguments) {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    /// Otherwise a verb's own options are looked at when it is called.
    #[test]
    fn the_options_of_every_verb_go_together() {
        Cli::command().debug_assert();
    }
}
