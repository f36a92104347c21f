//! The program as a user calls it: exit statuses, and what is said of wrong arguments.

use host::qemu::Folder;
use quoin_verify::evidence::folder::FILES;
use std::fs;
use std::io::pipe;
use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command
}

fn status_and_stderr(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_suite_that_does_not_exist_is_a_wrong_argument_and_the_suites_are_listed() {
    for verb in ["test", "ci"] {
        let (status, said) = status_and_stderr(&xtask(&[verb, "--suite", "nosuch"]).output().unwrap());
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("nosuch") && said.contains("hostile guest at VMPL2"), "{said}");
    }
}

#[test]
fn a_suite_of_others_or_a_profile_that_does_not_exist_is_a_wrong_argument() {
    for (wrong, list) in [(["--suite", "nosuch"], "measured-boot"), (["--profile", "nosuch"], "no-legacy")] {
        let (status, said) = status_and_stderr(&xtask(&["conformance"]).args(wrong).output().unwrap());
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("nosuch") && said.contains(list), "{said}");
    }
}

#[test]
fn what_a_fuzzer_needs_is_looked_at_before_it_is_built() {
    for (wrong, expected) in [
        (["differential", "--peer", "tcp:127.0.0.1"], 2),
        (["differential", "--peer", "nosuch"], 2),
        (["engine", "--input", "/no/such/input"], 1),
    ] {
        let output = xtask(&["fuzz"]).args(wrong).env("CARGO", "/nowhere").output().unwrap();
        let (status, said) = status_and_stderr(&output);
        assert_eq!(status, Some(expected), "{said}");
        assert!(said.contains(wrong[2]), "{said}");
    }
}

#[test]
fn a_target_directory_that_cannot_be_is_named() {
    let output = xtask(&["image"]).env("CARGO_TARGET_DIR", "/dev/null/nowhere").output().unwrap();
    let (status, said) = status_and_stderr(&output);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("/dev/null/nowhere"), "{said}");
}

/// As on a computer without QEMU and without a package manager.
#[test]
fn the_doctor_says_what_is_missing_where_qemu_is_not_there() {
    let folder = Folder::new().unwrap();
    let output = xtask(&["doctor"]).env("PATH", folder.path()).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for text in
        ["MISSING  packages          qemu-system-x86", "there is no apt-get", "NO       run: ", "QEMU         none"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn output_that_nobody_reads_is_a_quiet_end() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = xtask(&["verify", "no-such-folder"]).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141));

    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let folder = Folder::new().unwrap();
    fs::create_dir(folder.path().join("credential")).unwrap();
    FILES.iter().for_each(|(name, _)| fs::write(folder.path().join(name), b"no evidence").unwrap());
    let verify = || xtask(&["verify", folder.path().to_str().unwrap()]);
    assert!(String::from_utf8(verify().output().unwrap().stdout).unwrap().starts_with("FAILED  root"));
    let output = verify().stdout(writer).output().unwrap();
    assert_eq!(status_and_stderr(&output), (Some(141), String::new()));
}

/// What `cargo xtask help VERB`, or `help` alone, prints on a terminal of so many columns.
fn manual(verb: Option<&str>, columns: &str) -> String {
    let output = xtask(&["help"]).args(verb).env("COLUMNS", columns).output().unwrap();
    assert!(output.status.success(), "{verb:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words that a manual names below `Commands:`, each at the start of a line that is indented by two blanks.
fn verbs() -> Vec<String> {
    let manual = manual(None, "80");
    let lines = manual.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    verbs.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// At 80 columns no line is longer, and the words are those that a terminal without an end shows.
#[test]
fn the_manual_of_every_verb_fits_a_terminal_and_breaks_no_word() {
    let verbs = verbs();
    for known in ["run", "test", "verify", "image", "guest", "tpm", "conformance"] {
        assert!(verbs.iter().any(|verb| verb == known), "{known} is not among {verbs:?}");
    }
    for verb in [None].into_iter().chain(verbs.iter().map(|verb| Some(verb.as_str()))) {
        let narrow = manual(verb, "80");
        let long: Vec<_> = narrow.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{verb:?}: {long:?}");
        let wide = manual(verb, "10000");
        assert!(narrow.split_whitespace().eq(wide.split_whitespace()), "{verb:?}: a word is broken\n{narrow}");
    }
}

/// A first run compiles for minutes: cargo says so, if the alias lets it.
#[test]
fn a_first_run_is_not_silent() {
    let configuration = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo/config.toml")).unwrap();
    let alias = configuration.lines().find(|line| line.starts_with("xtask = ")).unwrap();
    assert!(alias.contains("run") && !alias.contains("quiet") && !alias.contains("-q"), "{alias}");
}

/// A trace holds what was unsealed: who asks for one is told.
#[test]
fn the_help_says_what_is_in_a_trace() {
    let help = xtask(&["tpm", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, trace) = help.split_once("--trace").unwrap();
    let trace = trace.split("--").next().unwrap();
    assert!(trace.contains("passwords") && trace.contains("unsealed") && trace.contains("0600"), "{trace}");
}

/// A digest in the README goes out of date with the next change of the image, and nobody sees it.
#[test]
fn the_readme_shows_no_launch_digest_but_the_committed_one() {
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/release-measurement.txt")).unwrap();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let words = readme.split(|c: char| !c.is_ascii_alphanumeric());
    let digests = words.filter(|word| word.len() >= 9 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let others: Vec<_> =
        digests.filter(|word| word.bytes().any(|b| b.is_ascii_alphabetic()) && !committed.starts_with(word)).collect();
    assert!(committed.trim().len() == 96 && others.is_empty(), "{others:?}");
}
