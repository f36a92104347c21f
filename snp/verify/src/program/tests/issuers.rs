//! Certificates of issuers that the verifier brings.

use crate::evidence::wire::Public;
use crate::judge::Expectations;
use crate::judge::tests::issuer;
use crate::judge::tests::twin::{Twin, expectations};
use crate::policy::Rules;
use crate::program::add_issuers;
use crate::verdict::Verdict;

/// A folder of ours may have a certificate of its EK, and not its issuer's.
#[test]
fn an_issuer_that_the_verifier_brings_is_above_an_eks_certificate_in_any_folder() {
    let ek_public = Public::parse(&Twin::new().tpm().manifest).unwrap();
    let mut evidence = Twin { ek_public, ..Twin::new() }.evidence();
    evidence.ek_certificate = issuer::ek_certificate();
    let rules = Rules { ek_roots: vec![issuer::ek_root()], ..Rules::default() };
    let expected = Expectations { rules, ..expectations() };
    assert_eq!(Verdict::of(&evidence, &expected).status(), 30);
    add_issuers(&mut evidence, &[issuer::ek_issuer()]);
    assert_eq!(Verdict::of(&evidence, &expected).status(), 0);
}
