//! What the engine and its two crates return as an error can be printed, and handed to `Box<dyn Error>`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{GenericArgument, PathArguments, ReturnType, Signature, Type, Visibility};
use tpm_core::store::StoreError;
use tpm_core::{EntropyFailure, Failure, Fault, StateError};

/// The names of error types, each of which is one or does not compile.
macro_rules! errors {
    ($($name:literal $type:ty),* $(,)?) => {
        [$({
            static_assertions::assert_impl_all!($type: core::error::Error, Send, Sync);
            $name
        }),*]
    };
}

/// The errors in the results of what is public.
#[derive(Default)]
struct Returned(BTreeSet<String>);

impl Returned {
    fn signature(&mut self, visibility: Option<&Visibility>, signature: &Signature) {
        if visibility.is_some_and(|visibility| !matches!(visibility, Visibility::Public(_))) {
            return;
        }
        let ReturnType::Type(_, returned) = &signature.output else { return };
        let Type::Path(path) = &**returned else { return };
        let last = path.path.segments.last().unwrap();
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return };
        if last.ident != "Result" {
            return;
        }
        if let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.get(1)
            && !error.path.segments.first().is_some_and(|first| first.ident == "Self" || first.ident == "D")
        {
            self.0.insert(error.path.segments.last().unwrap().ident.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Returned {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.signature(Some(&item.vis), &item.sig);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.signature(Some(&item.vis), &item.sig);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if matches!(item.vis, Visibility::Public(_)) {
            visit::visit_item_trait(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.signature(None, &item.sig);
    }
}

fn read(folder: &Path, returned: &mut Returned) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, returned);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("src/fuzz.rs") {
            returned.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

#[test]
fn every_public_error_is_an_error() {
    let errors = errors![
        "EntropyFailure" EntropyFailure,
        "Error" tpm_crypto::Error,
        "Failure" Failure,
        "Fault" Fault,
        "Fmt1" tpm_core::rc::Fmt1,
        "Rc" tpm_core::rc::Rc,
        "StateError" StateError,
        "StoreError" StoreError<EntropyFailure>,
        "TooLong" tpm_crypto::secret::TooLong,
    ];
    let mut returned = Returned::default();
    for folder in ["src", "codes/src", "wire/src", "crypto/src"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut returned);
    }
    let unknown: Vec<_> = returned.0.iter().filter(|name| !errors.contains(&name.as_str())).collect();
    assert_eq!(unknown, [""; 0], "a public function returns an error that is not listed");
    assert!(returned.0.len() >= 7, "they are found: {:?}", returned.0);
}

#[test]
fn an_error_says_what_is_behind_it() {
    let error = StoreError::<EntropyFailure>::State(StateError::Inconsistent(Fault::Seed));
    let chain: Vec<_> = core::iter::successors(Some(&error as &dyn core::error::Error), |error| error.source())
        .map(|error| error.to_string())
        .collect();
    assert_eq!(
        chain,
        [
            "the state: its parts do not go together: a seed or proof has not its size",
            "its parts do not go together: a seed or proof has not its size",
            "a seed or proof has not its size",
        ]
    );
    assert_eq!(StoreError::Disk(EntropyFailure).to_string(), "the disk: there is no entropy");
}
