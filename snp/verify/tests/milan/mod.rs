//! A Milan's report, which the crate `sev` brings with its certificate among its tests' data. Cargo has it in its
//! cache, since `sev` is what we depend on; nothing of it is committed here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Where cargo has unpacked `sev`.
static SEV: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "metadata",
        "--locked",
        "--offline",
        "--format-version",
        "1",
    ]);
    let output = metadata.output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = json["packages"].as_array().unwrap();
    let sev = packages.iter().find(|package| package["name"] == "sev").unwrap();
    PathBuf::from(sev["manifest_path"].as_str().unwrap()).parent().unwrap().join("tests/certs_data")
});

/// A file of those.
pub(crate) fn file(name: &str) -> Vec<u8> {
    fs::read(SEV.join(name)).unwrap()
}

/// The report.
pub(crate) fn report() -> Vec<u8> {
    let digits = String::from_utf8(file("report_milan.hex")).unwrap();
    let pairs = digits.trim().as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
