//! Writes what comes with the program `quoin-tpm` into a folder: the manual page and the shells' completions, made of
//! its options, and the licences of the crates in it. `cargo run -p quoin-tpm --example documents -- FOLDER`; who
//! installs the program by cargo need not compile this.

mod licences;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::env::args_os;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let folder = PathBuf::from(args_os().nth(1).context("which folder?")?);
    fs::create_dir_all(&folder)?;
    let mut command = shown();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "quoin-tpm", &folder)?;
    }
    for task in command.get_subcommands().filter(|task| task.get_name() != "help") {
        // clap keeps names for ever.
        let name: &'static str = format!("quoin-tpm-{}", task.get_name()).leak();
        let spoken = format!("quoin-tpm {}", task.get_name());
        page(task.clone().name(name).bin_name(spoken), &folder.join(format!("{name}.8")))?;
    }
    page(command, &folder.join("quoin-tpm.8"))?;
    fs::write(folder.join("licences"), licences::all()?)?;
    Ok(())
}

/// Writes a manual page.
fn page(command: Command, file: &Path) -> Result<()> {
    let mut page = Vec::new();
    let version = quoin_tpm::version();
    let manual = clap_mangen::Man::new(command.version(version)).section("8").manual("System Manager's Manual");
    manual.render(&mut page)?;
    Ok(fs::write(file, page)?)
}

/// The program's options, without those that it gives to itself.
fn shown() -> Command {
    let all = quoin_tpm::Args::command();
    let shown = all.get_arguments().filter(|option| !option.is_hide_set()).cloned();
    let command = Command::new("quoin-tpm").version(quoin_tpm::version()).args(shown);
    let command = command.subcommands(all.get_subcommands().cloned()).args_conflicts_with_subcommands(true);
    let about = [all.get_about(), all.get_long_about(), all.get_after_long_help()]
        .map(|text| text.cloned().unwrap_or_default());
    let [short, long, after] = about;
    command.about(short).long_about(long).after_long_help(after)
}
