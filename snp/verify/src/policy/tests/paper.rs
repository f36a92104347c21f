//! docs/policy.md is about every key of the policy file, by its whole path, and about no other; and about every key of
//! the verdict as JSON.

use super::PAPER;
use crate::evidence::boot_log::tests::log;
use crate::judge::tests::twin::{Twin, expectations};
use crate::policy::Policy;
use crate::verdict::Verdict;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Paths of all properties of a schema.
fn paths(schema: &Value, definitions: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        paths(&definitions[name], definitions, at, found);
    }
    let several = schema["anyOf"].as_array().into_iter().flatten();
    several.chain(schema.get("items")).for_each(|part| paths(part, definitions, at, found));
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        paths(value, definitions, &path, found);
        found.insert(path);
    }
}

fn of_the_schema() -> BTreeSet<String> {
    let schema = Policy::schema();
    let mut found = BTreeSet::new();
    paths(&schema, &schema["$defs"], "", &mut found);
    found
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths in the first column of the paper's tables, and the words that are quoted beside them. One that begins with
/// a point is of the table that the one before it is of.
fn of_the_paper() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut found = BTreeMap::<String, BTreeSet<&str>>::new();
    let (_, tables) = PAPER.split_once("## The file").unwrap();
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let (keys, words) = row[2..].split_once(" | ").unwrap();
        let mut table = String::new();
        for key in quoted(keys) {
            let path = if key.starts_with('.') { format!("{table}{key}") } else { key.to_owned() };
            table = path.rsplit_once('.').map(|(table, _)| table.to_owned()).unwrap_or_default();
            found.entry(path.trim_end_matches(".N").to_owned()).or_default().extend(quoted(words));
        }
    }
    found
}

/// A path is named itself, or as a word beside its table's, or it is a table whose keys are named.
#[test]
fn the_paper_is_about_every_key() {
    let (schema, paper) = (of_the_schema(), of_the_paper());
    assert!(schema.len() > 100, "{schema:?}");
    for path in schema.iter().filter(|path| *path != "version") {
        let beside = |(table, key): (&str, &str)| paper.get(table).is_some_and(|words| words.contains(key));
        let is_named = paper.contains_key(path)
            || path.rsplit_once('.').is_some_and(beside)
            || schema.iter().any(|other| other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.')));
        assert!(is_named, "{path} is not in docs/policy.md");
    }
}

#[test]
fn the_paper_is_about_no_other_key() {
    let schema = of_the_schema();
    for path in of_the_paper().keys() {
        assert!(schema.contains(path), "{path} is in docs/policy.md, and in no policy file");
    }
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        found.insert(key.clone());
        keys(value, found);
    }
    value.as_array().into_iter().flatten().for_each(|value| keys(value, found));
}

#[test]
fn the_paper_is_about_every_key_of_the_verdict() {
    let mut found = BTreeSet::new();
    for evidence in [Twin::new().stateful(), Twin { boot_events: log("quiet"), ..Twin::new() }.evidence()] {
        keys(&Verdict::of(&evidence, &expectations()).to_json(), &mut found);
    }
    assert!(["development-root", "boot-nonce", "standing"].iter().all(|key| found.contains(*key)), "{found:?}");
    let says = PAPER.split("## ").find(|section| section.starts_with("What it says\n")).unwrap();
    for key in found {
        assert!(quoted(says).any(|word| word == key), "{key} is not in docs/policy.md, What it says");
    }
}
