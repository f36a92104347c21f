//! The options of a running TPM: the firmware's, whose PSP is a twin, at a socket.

use super::{AT, Cli};
use crate::digest;
use crate::evidence::boot_log::tests::log;
use crate::evidence::event_log::initial_pcrs;
use crate::evidence::ima::tests::list;
use crate::evidence::userspace;
use crate::input;
use crate::judge::Step;
use crate::judge::tests::twin::{Twin, measurement};
use crate::judge::tests::vtpm;
use crate::program::{evidence, verdict};
use clap::Parser;
use host::qemu::Folder;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

/// Answers the commands that come by one connection.
fn serve(mut stream: UnixStream, ask: &mut dyn FnMut(&[u8]) -> Vec<u8>) {
    let mut header = [0; 10];
    while stream.read_exact(&mut header).is_ok() {
        let size = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
        let mut command = header.to_vec();
        command.resize(size, 0);
        stream.read_exact(&mut command[10..]).unwrap();
        stream.write_all(&ask(&command)).unwrap();
    }
}

/// Each log that is brought counts: the TPM's PCRs are those of a boot that has measured nothing.
#[test]
fn logs_are_those_that_are_brought_and_what_was_answered_is_saved() {
    let twin = Twin::new();
    let folder = Folder::new().unwrap();
    let file = |name: &str, contents: &[u8]| {
        fs::write(folder.path().join(name), contents).unwrap();
        folder.path().join(name).display().to_string()
    };
    let above = file("above.der", &[&twin.identity.ask[..], &twin.identity.ark].concat());
    let (boot, ima) = (file("boot", &log("quiet")), file("ima", &list(&initial_pcrs())));
    let records = file("records", &userspace::tests::log());
    let saved = folder.path().join("saved").display().to_string();
    let digest = digest::hex(&measurement());
    let rules = ["--development-root", "--at", AT, "--measurement", &digest];
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let tcti = format!("swtpm:path={}", socket.display());
    let runs = [
        (["--save", &saved], 0, "no event log"),
        (["--boot-log", &boot], Step::EventLog.status(), "PCR 0 by the event log"),
        (["--ima", &ima], Step::EventLog.status(), "no part of the list leads"),
        (["--userspace-log", &records], 0, "0 records of systemd (4 more are later than the quote, and not proven)"),
    ];
    let count = runs.len();
    // It is not waited for: a run that fails leaves it waiting for the next.
    thread::spawn(move || {
        vtpm::with(&twin, 0, |ask| (0..count).for_each(|_| serve(listener.accept().unwrap().0, ask)));
    });
    for (options, status, says) in &runs {
        let tpm = ["quoin-verify", "--tcti", &tcti, "--ek", "ecc-p256", "--certificates", &above];
        let words = tpm.into_iter().chain(rules).chain(options.iter().copied());
        let Cli { args } = Cli::try_parse_from(words).unwrap();
        let evidence = evidence(&args).unwrap();
        let verdict = verdict(&args, &evidence).unwrap();
        assert_eq!(verdict.status(), *status, "{options:?}: {verdict:?}");
        let log = verdict.findings.iter().find(|finding| finding.step == Step::EventLog).unwrap();
        assert!(format!("{:?}", log.state).contains(says), "{options:?}: {log:?}");
        if options[0] == "--save" {
            assert_eq!(input::read(saved.as_ref(), &[]).unwrap(), evidence);
        }
    }
}
