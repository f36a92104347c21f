//! The example, as a program that somebody talks to.

#[path = "../../examples/tpm.rs"]
#[allow(dead_code, reason = "its main function reads the arguments of a program")]
mod tpm;

use client::codes::INITIALIZE;
use client::command;
use tpm_core::cc;

/// What it says to these commands, one after the other.
fn say(path: &std::path::Path, commands: &[Vec<u8>]) -> Vec<u8> {
    let mut output = Vec::new();
    tpm::serve(&commands.concat()[..], &mut output, path).unwrap();
    output
}

#[test]
fn it_answers_and_goes_on_from_its_file() {
    let folder = std::env::temp_dir().join(format!("quoin-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("state");
    let random = command(cc::GET_RANDOM, &[], &[], &[0, 4]);
    let early = say(&path, core::slice::from_ref(&random));
    assert_eq!(early[6..], INITIALIZE.to_be_bytes());
    assert_eq!(say(&path, &[command(cc::STARTUP, &[], &[], &[0, 0])])[6..], [0; 4]);
    let numbers = say(&path, &[random.clone(), random]);
    assert_eq!((numbers.len(), &numbers[..12]), (32, &[0x80, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4][..]));
    assert_ne!(numbers[12..16], numbers[28..], "two numbers");
    assert!(tpm::serve(&[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0][..], Vec::new(), &path).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}
