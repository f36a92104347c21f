//! What Linux's configfs-tsm gives (Documentation/ABI/testing/configfs-tsm-report): `outblob`, the report; `auxblob`,
//! the host's certificate table; `manifestblob`, the service's manifest, where an SVSM has answered.

use super::{Found, certificates};
use crate::evidence::folder::{Evidence, Kind};
use anyhow::Result;

/// Of the blobs, and of what was written to `inblob`. A table may hold fewer certificates than a folder of ours has.
pub fn evidence(outblob: Vec<u8>, auxblob: &[u8], manifestblob: Vec<u8>, inblob: Vec<u8>) -> Result<Found> {
    let (report, manifest, nonce) = (outblob, manifestblob, inblob);
    let evidence = Evidence { kind: Kind::Report, report, manifest, nonce, ..Evidence::default() };
    Ok(Found { evidence, certificates: certificates::of_table(auxblob)? })
}
