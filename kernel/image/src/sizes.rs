//! Bytes of an ELF file by crate, from the names in its symbol table.

use super::elf::Elf;
use std::collections::BTreeMap;

/// Names and bytes, largest first.
pub fn by_crate(elf: &Elf) -> Vec<(String, u64)> {
    let mut crates: BTreeMap<String, u64> = BTreeMap::new();
    for (symbol, size) in &elf.sizes {
        *crates.entry(crate_of(symbol)).or_default() += size;
    }
    let mut sorted: Vec<_> = crates.into_iter().collect();
    sorted.sort_by_key(|(name, size)| (core::cmp::Reverse(*size), name.clone()));
    sorted
}

/// The crate of a mangled symbol: that of the type for `<some::Type as Trait>::method`, and of the trait where the type
/// is built in.
fn crate_of(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    if name == symbol {
        return String::from("(no Rust name)");
    }
    let candidates =
        name.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter_map(|path| path.split_once("::"));
    let first = candidates.map(|(first, _)| first).find(|first| !first.is_empty());
    first.map_or_else(|| String::from("(other)"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::crate_of;

    #[test]
    fn a_function_belongs_to_the_crate_of_its_path() {
        assert_eq!(crate_of("_ZN4core3fmt5write17h0123456789abcdefE"), "core");
    }

    #[test]
    fn a_trait_method_belongs_to_the_crate_of_the_type() {
        assert_eq!(
            crate_of("_ZN55_$LT$sha2..Sha256$u20$as$u20$digest..update..Update$GT$6update17h0123456789abcdefE"),
            "sha2"
        );
    }

    #[test]
    fn a_method_on_a_built_in_type_belongs_to_the_crate_of_the_trait() {
        assert_eq!(
            crate_of("_ZN52_$LT$$u5b$u8$u5d$$u20$as$u20$zerocopy..IntoBytes$GT$8as_bytes17h0123456789abcdefE"),
            "zerocopy"
        );
    }

    #[test]
    fn symbols_of_assembly_are_named_as_such() {
        assert_eq!(crate_of("memcpy"), "(no Rust name)");
    }
}
