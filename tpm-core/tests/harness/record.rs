//! What the tests say to their TPMs, as a corpus for the fuzz targets (tests/fuzz): where the environment variable QUOIN_RECORD names a folder, each TPM's
//! commands become a file in `engine`, and the parameters of each command one in `unmarshal`.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// The steps of a TPM, as tests/fuzz/src/engine.rs reads them.
pub(crate) struct Recording {
    folder: Option<PathBuf>,
    steps: Vec<u8>,
    now_ms: u64,
    locality: u8,
}

impl Default for Recording {
    fn default() -> Self {
        let folder = std::env::var_os("QUOIN_RECORD").map(PathBuf::from);
        Self { folder, steps: vec![0], now_ms: 0, locality: 0 }
    }
}

impl Recording {
    pub(crate) fn init(&mut self, now_ms: u64) {
        self.wait(now_ms);
        self.step(1, 0, &[]);
    }

    pub(crate) fn command(&mut self, now_ms: u64, locality: u8, request: &[u8]) {
        self.wait(now_ms);
        if locality != self.locality {
            self.locality = locality;
            self.step(3, locality.into(), &[]);
        }
        self.step(0, request.len() as u16, request);
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
        if let Some(folder) = &self.folder {
            let name = Sha256::digest(input)[..8].iter().map(|octet| format!("{octet:02x}")).collect::<String>();
            fs::create_dir_all(folder.join(target)).unwrap();
            fs::write(folder.join(target).join(name), input).unwrap();
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.steps.len() > 1 {
            self.keep("engine", &self.steps);
        }
    }
}
