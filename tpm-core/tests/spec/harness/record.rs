//! What the tests say to their TPMs, and which codes these answer, for verbs of xtask.
//!
//! - `QUOIN_RECORD` names a folder: each TPM's commands become a file in its `engine`, and the parameters of each
//!   command one in `unmarshal`, which are a corpus for the fuzz targets (tests/fuzz). What a test of a threat has sent
//!   becomes a file of its name in `threats`, too, for `cargo xtask beside`: a line "N" for a new TPM, "I" for
//!   _TPM_Init, and "C", locality, command and response code in hexadecimal for a command.
//! - `QUOIN_CODES` names a file: command code and response code go there, each pair once, for `cargo xtask codes`.

use core::sync::atomic::{AtomicUsize, Ordering};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

/// How the names of tests of threats begin.
const THREATS: [&str; 3] = ["cve_", "tn_", "libtpms_"];

/// The steps of a TPM, as tests/fuzz/src/engine.rs reads them, and as `beside` does.
pub(crate) struct Recording {
    folder: Option<PathBuf>,
    steps: Vec<u8>,
    now_ms: u64,
    locality: u8,
    /// the test's name, if it is one of a threat
    threat: Option<String>,
    lines: String,
}

impl Recording {
    pub(crate) fn new() -> Self {
        let folder = std::env::var_os("QUOIN_RECORD").map(PathBuf::from);
        // Without the module.
        let name = std::thread::current().name().and_then(|name| name.rsplit("::").next()).map(str::to_owned);
        let threat = name.filter(|name| folder.is_some() && THREATS.iter().any(|start| name.starts_with(start)));
        Self { folder, steps: vec![0], now_ms: 0, locality: 0, threat, lines: "N\n".into() }
    }

    pub(crate) fn init(&mut self, now_ms: u64) {
        self.wait(now_ms);
        self.step(1, 0, &[]);
        self.lines.push_str("I\n");
    }

    /// Before the command: it may be the last.
    pub(crate) fn command(&mut self, now_ms: u64, locality: u8, request: &[u8]) {
        self.wait(now_ms);
        if locality != self.locality {
            self.locality = locality;
            self.step(3, locality.into(), &[]);
        }
        self.step(0, request.len() as u16, request);
    }

    pub(crate) fn answer(&mut self, request: &[u8], response: &[u8]) {
        seen(request, response);
        if self.threat.is_some() {
            self.lines.push_str(&format!("C {} {} {}\n", self.locality, hex(request), hex(&response[6..10])));
        }
    }

    pub(crate) fn parameters(&self, code: u32, parameters: &[u8]) {
        self.keep("unmarshal", &[&(code as u16).to_be_bytes()[..], parameters].concat());
    }

    /// Some of the time, in the units that there are: a number shifted by its last four bits.
    fn wait(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.now_ms);
        self.now_ms = now_ms;
        if let Some(shift) = (0..16_u16).find(|shift| passed >> shift < 1 << 16).filter(|_| passed > 0) {
            self.step(2, (passed >> shift) as u16 & !15 | shift, &[]);
        }
    }

    fn step(&mut self, kind: u8, number: u16, octets: &[u8]) {
        if self.folder.is_some() && self.steps.len() < 1 << 15 {
            self.steps.push(kind);
            self.steps.extend(number.to_be_bytes());
            self.steps.extend(octets);
        }
    }

    fn keep(&self, target: &str, input: &[u8]) {
        self.write(target, &hex(&Sha256::digest(input)[..8]), input);
    }

    fn write(&self, target: &str, name: &str, octets: &[u8]) {
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder.join(target)).unwrap();
            fs::write(folder.join(target).join(name), octets).unwrap();
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        static TPMS: AtomicUsize = AtomicUsize::new(0);
        if self.steps.len() > 1 {
            self.keep("engine", &self.steps);
        }
        if let Some(threat) = &self.threat {
            let number = TPMS.fetch_add(1, Ordering::Relaxed);
            self.write("threats", &format!("{threat}.{number}"), self.lines.as_bytes());
        }
    }
}

fn seen(request: &[u8], response: &[u8]) {
    static SEEN: Mutex<BTreeSet<[u8; 4]>> = Mutex::new(BTreeSet::new());
    let Some(file) = std::env::var_os("QUOIN_CODES") else { return };
    let (Some(&[_, _, a, b]), Some(&[_, _, c, d])) = (request.get(6..10), response.get(6..10)) else { return };
    if SEEN.lock().unwrap().insert([a, b, c, d]) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(format!("{a:02x}{b:02x} {c:02x}{d:02x}\n").as_bytes()).unwrap();
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
