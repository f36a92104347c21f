//! The policy file: what is read, what is not, and that its papers are about the same keys.

mod paper;

use super::{Count, Hex, HypervisorFeature, Otherwise, Policy, Rules, SevFeature};
use crate::testing::{Header, igvm};
use host::qemu::Folder;
use serde_json::Value;
use std::fs;

const PAPER: &str = include_str!("../../../../docs/policy.md");

fn example() -> &'static str {
    PAPER.split("```toml\n").nth(1).unwrap().split("```").next().unwrap()
}

/// What a file is refused with.
fn refused(text: &str) -> String {
    format!("{:#}", Policy::parse(text).unwrap_err())
}

#[test]
fn the_papers_example_is_read() {
    let policy = Policy::parse(example()).unwrap();
    assert_eq!(policy.tcb.turin.unwrap().fmc, Some(1));
    assert_eq!(policy.platform_info.alias_check_complete, Some(true));
    assert_eq!((policy.events[0].index, policy.events[0].count), (Some(1), Count::Some));
    let written = toml_of(&policy);
    assert!(written["launch"]["igvm"][0] == "quoin.igvm", "{written}");
}

fn toml_of(policy: &Policy) -> Value {
    serde_json::to_value(policy).unwrap()
}

/// Refusals of what a firmware is told.
#[test]
fn a_firmwares_part_is_read_and_has_no_other_names() {
    let policy = Policy::parse(
        "version = 1\n[firmware]\nhypervisor-features = [\"restricted-injection\"]\nsev-features = [\"smt-protection\"]\n\
         unmet = \"name-it\"\nunmet-by-rule.\"tcb\" = \"refuse\"\nweaknesses = []",
    );
    let firmware = policy.unwrap().firmware;
    assert_eq!(firmware.hypervisor_features, [HypervisorFeature::RestrictedInjection]);
    assert_eq!(firmware.sev_features, [SevFeature::SmtProtection]);
    assert_eq!((firmware.otherwise("tcb"), firmware.otherwise("chips.ids")), (Otherwise::Refuse, Otherwise::NameIt));
    assert_eq!(firmware.weaknesses, Some(Vec::new()));
    assert_eq!(Policy::parse("version = 1").unwrap().firmware.otherwise("tcb"), Otherwise::Refuse);
    for (key, why) in [
        ("hypervisor-features = [\"planes\"]", "planes"),
        ("sev-features = [\"secure-avic\"]", "secure-avic"),
        ("unmet = \"ignore\"", "ignore"),
        ("unmet-by-rule.\"tcb.milan\" = \"refuse\"", "no rule \"tcb.milan\""),
        ("measured = true", "measured"),
    ] {
        let said = refused(&format!("version = 1\n[firmware]\n{key}"));
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    for (text, key, line) in [
        ("version = 1\ntypo = 2\n", "typo", "line 2"),
        ("version = 1\n\n[platform-info]\nsmt = false\nalias-check = true\n", "alias-check", "line 5"),
        ("version = 1\n[tcb.milan]\nucode = 1\n", "ucode", "line 3"),
        ("version = 1\n[tcb.rome]\nsnp = 1\n", "rome", "line 2"),
        ("version = 1\n[[events]]\npcr = 1\nnumber = 1\n", "number", "line 4"),
    ] {
        let said = refused(text);
        assert!(said.contains(key) && said.contains(line), "{said}");
    }
}

#[test]
fn a_value_that_is_none_is_an_error() {
    for (text, why) in [
        ("", "version"),
        ("version = 2", "version = 2"),
        ("version = 1\nlaunch.digests = [\"00\"]", "2 digits, not 96"),
        ("version = 1\nlaunch.digests = [\"zz\"]", "hexadecimal"),
        ("version = 1\nroots.amd = [\"rome\"]", "rome"),
        ("version = 1\nguest-policy.debug = true", "guest-policy.debug"),
        ("version = 1\nguest-policy.migration-agent = true", "guest-policy.migration-agent"),
        ("version = 1\nreport.vmpl = 4", "report.vmpl"),
        ("version = 1\npcrs.24 = []", "pcrs.24"),
        ("version = 1\npcrs.7 = []", "pcrs.7: an empty list"),
        ("version = 1\npcrs.7 = \"00\"", "64 hexadecimal digits"),
        ("version = 1\nevents = [{ pcr = 24 }]", "no PCR 24"),
        ("version = 1\nevents = [{ pcr = 8, index = 0 }]", "index"),
        ("version = 1\ntcb.milan.fmc = 1", "tcb.milan.fmc"),
        ("version = 1\ntcb.milan.snp = 256", "snp"),
        ("version = 1\nrequire = [\"magic\"]", "magic"),
    ] {
        let said = refused(text);
        assert!(said.contains(why), "{text}: {said}");
    }
}

/// What somebody has left empty by mistake is not read as leave for anything.
#[test]
fn a_list_of_what_may_be_is_not_empty() {
    for key in [
        "endorsement.providers",
        "chips.ids",
        "launch.digests",
        "launch.igvm",
        "launch.host-data",
        "launch.id-key-digests",
        "launch.author-key-digests",
        "ek.names",
        "ak.names",
        "ek-certificate.roots",
        "state.identities",
        "state.came-from",
    ] {
        let said = refused(&format!("version = 1\n{key} = []"));
        assert!(said.contains("line 2") && said.contains("an empty list"), "{key}: {said}");
    }
    assert!(refused("version = 1\nevents = [{ pcr = 1, sha256 = [] }]").contains("an empty list"));
}

#[test]
fn pcr_values_are_one_or_several() {
    let (zeros, ones) = ("00".repeat(32), "11".repeat(32));
    let policy =
        Policy::parse(&format!("version = 1\npcrs.0 = \"{zeros}\"\npcrs.23 = [\"{zeros}\", \"{ones}\"]")).unwrap();
    assert_eq!(policy.pcrs["0"].values(), [Hex([0; 32])]);
    assert_eq!(policy.pcrs["23"].values(), [Hex([0; 32]), Hex([0x11; 32])]);
}

/// `QUOIN_WRITE_DOCS=1` writes it.
#[test]
fn the_schema_in_docs_is_that_of_the_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.schema.json");
    let schema = format!("{:#}\n", Policy::schema());
    if std::env::var_os("QUOIN_WRITE_DOCS").is_some() {
        fs::write(path, &schema).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == schema, "docs/policy.schema.json: QUOIN_WRITE_DOCS=1 writes it anew");
}

#[test]
fn files_are_found_from_the_policys_folder() {
    let folder = Folder::new().unwrap();
    let image = igvm(&[Header::Vmsa]);
    fs::write(folder.path().join("an.igvm"), &image).unwrap();
    fs::write(folder.path().join("root.pem"), "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n")
        .unwrap();
    let path = folder.path().join("policy.toml");
    fs::write(&path, "version = 1\nroots.files = [\"root.pem\"]\nlaunch.igvm = [\"an.igvm\"]\n").unwrap();
    let rules = Rules::read(&path).unwrap();
    assert_eq!(rules.roots, [[1, 2, 3]]);
    assert_eq!(rules.images[0].launch.digest, crate::digest::measure(&image).unwrap().digest);
    assert!(rules.has_reference() && !Rules::default().has_reference());
    fs::write(&path, "version = 1\nlaunch.igvm = [\"another.igvm\"]\n").unwrap();
    assert!(format!("{:#}", Rules::read(&path).unwrap_err()).contains("another.igvm"));
    fs::write(&path, "version = 1\ntypo = 1\n").unwrap();
    assert!(format!("{:#}", Rules::read(&path).unwrap_err()).contains("policy.toml"), "the file is named");
}
