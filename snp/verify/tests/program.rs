//! The program as a user calls it: exit statuses, what is said of wrong arguments, and what it is made of.

mod milan;

use host::qemu::Folder;
use quoin_verify::digest::hex;
use quoin_verify::evidence::event_log::{Event, EventLog};
use quoin_verify::evidence::folder::FILES;
use std::fs;
use std::io::pipe;
use std::process::{Command, Output};

fn quoin_verify(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quoin-verify"));
    command.args(arguments);
    command
}

fn status_and_words(output: &Output) -> (Option<i32>, String) {
    let words = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

/// A folder that has every file, and nothing true in any.
fn no_evidence() -> Folder {
    let folder = Folder::new().unwrap();
    fs::create_dir(folder.path().join("credential")).unwrap();
    FILES.iter().for_each(|(name, _)| fs::write(folder.path().join(name), b"no evidence").unwrap());
    folder
}

#[test]
fn the_version_is_the_packages() {
    let (status, said) = status_and_words(&quoin_verify(&["--version"]).output().unwrap());
    assert_eq!((status, said.trim()), (Some(0), concat!("quoin-verify ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_launch_digest_or_a_policy_that_is_none_is_a_wrong_argument() {
    for wrong in [["--measurement", "00ff"], ["--measurement", &"zz".repeat(48)], ["--policy", "much"]] {
        let output = quoin_verify(&["folder", wrong[0], wrong[1]]).output().unwrap();
        let (status, said) = status_and_words(&output);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(wrong[0]), "{said}");
    }
}

#[test]
fn a_folder_or_an_image_that_is_not_there_is_named() {
    let folder = no_evidence();
    for wrong in [&["/no/such/folder"][..], &[folder.path().to_str().unwrap(), "--igvm", "/no/such/image"]] {
        let (status, said) = status_and_words(&quoin_verify(wrong).output().unwrap());
        assert_eq!(status, Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.contains("/no/such/"), "{said}");
    }
}

#[test]
fn what_is_no_evidence_fails_at_the_first_step() {
    let folder = no_evidence();
    let (status, said) = status_and_words(&quoin_verify(&[folder.path().to_str().unwrap()]).output().unwrap());
    assert_eq!(status, Some(10), "{said}");
    assert!(said.starts_with("FAILED  root") && said.contains("not verified"), "{said}");
}

/// A folder with a real report, whose certificate is beside it.
fn of_milan() -> Folder {
    let folder = Folder::new().unwrap();
    fs::write(folder.path().join("report.bin"), milan::report()).unwrap();
    fs::write(folder.path().join("vcek.der"), milan::file("vcek_milan.der")).unwrap();
    folder
}

/// Verified, consistent, and each with what is wrong with it: root, time, launch digest, nonce, a rule that nothing
/// meets, a part that is not there.
#[test]
fn a_real_report_ends_with_the_status_of_what_is_found() {
    let folder = of_milan();
    let report = milan::report();
    let (right, nonce) = (hex(&report[0x90..0xC0]), hex(&report[0x50..0x90]));
    let (other, another) = ("5a".repeat(48), "5a".repeat(64));
    let policies = [
        ("roots", "roots.amd = [\"genoa\"]"),
        ("crl", "revocation.required = true"),
        ("quote", "require = [\"quote\"]"),
    ];
    let [genoa, crl, quote] = policies.map(|(name, rule)| {
        let path = folder.path().join(name);
        fs::write(&path, format!("version = 1\n{rule}\n")).unwrap();
        path.display().to_string()
    });
    let measured = ["--measurement", &right];
    let answered = ["--nonce", &nonce];
    for (status, says, options) in [
        (0, "verified: ", [&measured[..], &answered].concat()),
        (3, "what is missing is --nonce", measured.to_vec()),
        (3, "what is missing is --igvm", answered.to_vec()),
        (10, "FAILED  root", [&measured[..], &answered, &["--policy-file", &genoa]].concat()),
        (11, "FAILED  certificate chain", [&measured[..], &answered, &["--at", "2001-01-01T00:00:00Z"]].concat()),
        (18, "FAILED  measurement", [&["--measurement", other.as_str()][..], &answered].concat()),
        (19, "FAILED  report data", [&measured[..], &["--nonce", &another]].concat()),
        (51, "FAILED  revocation", [&measured[..], &answered, &["--policy-file", &crl]].concat()),
        (61, "FAILED  required parts", [&measured[..], &answered, &["--policy-file", &quote]].concat()),
    ] {
        let evidence = folder.path().to_str().unwrap();
        let (found, said) = status_and_words(&quoin_verify(&[&[evidence], &options[..]].concat()).output().unwrap());
        assert!(found == Some(status) && said.contains(says), "{status}, {options:?}: {said}");
        let words = [&[evidence, "--json"], &options[..]].concat();
        let (found, said) = status_and_words(&quoin_verify(&words).output().unwrap());
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((found, &json["status"]), (Some(status), &status.into()), "{options:?}");
    }
    let (status, said) = status_and_words(&quoin_verify(&["cert", folder.path().to_str().unwrap()]).output().unwrap());
    assert!(status == Some(1) && said.contains("no certificate that carries a report"), "{said}");
}

#[test]
fn events_are_printed_where_they_are_asked_for() {
    let folder = no_evidence();
    let events = vec![Event { pcr: 8, data: b"kernel_cmdline: quiet\0".to_vec() }];
    let log = EventLog { banks: vec![4, 0xB], events }.to_bytes().unwrap();
    fs::write(folder.path().join("boot-events.bin"), log).unwrap();
    let evidence = folder.path().to_str().unwrap();
    let (_, without) = status_and_words(&quoin_verify(&[evidence]).output().unwrap());
    let (_, with) = status_and_words(&quoin_verify(&[evidence, "--events"]).output().unwrap());
    assert!(!without.contains("kernel_cmdline") && with.contains("kernel_cmdline: quiet"), "{with}");
    let (status, said) = status_and_words(&quoin_verify(&[evidence, "--events", "--json"]).output().unwrap());
    assert!(status == Some(2) && said.contains("--json"), "JSON has them anyway: {said}");
}

#[test]
fn output_that_nobody_reads_is_a_quiet_end() {
    let folder = no_evidence();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = quoin_verify(&[folder.path().to_str().unwrap()]).stdout(writer).output().unwrap();
    assert_eq!(status_and_words(&output), (Some(141), String::new()));
}

#[test]
fn the_schema_of_policy_files_is_printed() {
    let (status, said) = status_and_words(&quoin_verify(&["schema"]).output().unwrap());
    assert_eq!(status, Some(0), "{said}");
    assert!(said == include_str!("../../../docs/policy.schema.json"), "{said}");
}

#[test]
fn a_policy_file_with_an_unknown_key_is_named_with_its_line() {
    let folder = no_evidence();
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "version = 1\n[platform-info]\nalias = true\n").unwrap();
    let arguments = [folder.path().to_str().unwrap(), "--policy-file", policy.to_str().unwrap()];
    let (status, said) = status_and_words(&quoin_verify(&arguments).output().unwrap());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("policy.toml") && said.contains("line 3") && said.contains("alias"), "{said}");
}

#[test]
fn the_verdict_as_json_says_what_the_steps_say() {
    let folder = no_evidence();
    let (status, said) =
        status_and_words(&quoin_verify(&[folder.path().to_str().unwrap(), "--json"]).output().unwrap());
    assert_eq!(status, Some(10), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["outcome"], &json["status"]), (&"refused".into(), &10.into()));
    let states: Vec<&str> =
        json["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
    assert_eq!(states[..2], ["failed", "unjudged"]);
}

#[test]
fn a_log_is_printed_by_name_with_the_pcrs_that_it_leads_to() {
    let folder = no_evidence();
    let path = folder.path().join("log");
    let events = vec![Event { pcr: 8, data: b"kernel_cmdline: quiet\0".to_vec() }];
    fs::write(&path, EventLog { banks: vec![4, 0xB], events }.to_bytes().unwrap()).unwrap();
    let (status, said) = status_and_words(&quoin_verify(&["log", path.to_str().unwrap()]).output().unwrap());
    assert_eq!(status, Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("PCR 8   EV_IPL") && lines[0].ends_with("`kernel_cmdline: quiet` (measured)"),
        "{said}"
    );
    assert!(lines[1].starts_with("PCR 8   leads to ") && lines.len() == 2, "{said}");
    let (status, said) = status_and_words(&quoin_verify(&["log", "--json", path.to_str().unwrap()]).output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &json["events"][0]["standing"]), (Some(0), &"measured".into()), "{said}");
    assert_eq!(json["pcrs"]["8"].as_str().unwrap().len(), 64);
    fs::write(&path, [[0; 4].as_slice(), &[8, 0, 0, 0], &[0; 24]].concat()).unwrap();
    let (status, said) = status_and_words(&quoin_verify(&["log", path.to_str().unwrap()]).output().unwrap());
    assert!(status == Some(1) && said.contains("SHA-1 format"), "{said}");
}

#[test]
fn a_tpm_that_cannot_be_reached_or_named_is_told() {
    for (arguments, wanted, word) in [
        (&["--tcti", "tabrmd"][..], 1, "none of swtpm, mssim, device and cmd"),
        (&["--tcti", "device:/no/such"], 1, "TPM at device:/no/such"),
        (&["--ak-handle", "0x81010002", "folder"], 2, "--tcti"),
        (&["--tcti", "swtpm", "--ak-handle", "0x181010002"], 2, "a handle"),
        (&[], 2, ""),
    ] {
        let (status, said) = status_and_words(&quoin_verify(arguments).output().unwrap());
        assert!(status == Some(wanted) && said.contains(word), "{arguments:?}: {said}");
    }
}

/// Who judges the firmware shares no code with it, and is installed where nothing but Rust is. (`cpufeatures` stands in
/// the whole workspace for the registry's.)
#[test]
fn no_package_of_ours_and_no_c_is_in_it() {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tree", "--locked", "--prefix", "none"]);
    let output = tree.args(["--package", "quoin-verify", "--edges", "normal,build"]).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("graviola "), "{tree}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap();
        let ours = line.contains("(/") || line.contains("path+file");
        assert!(!ours || ["quoin-verify", "cpufeatures"].contains(&name), "{line}");
        assert!(!["cc", "cmake", "pkg-config", "bindgen", "vcpkg"].contains(&name), "{line}");
    }
}
