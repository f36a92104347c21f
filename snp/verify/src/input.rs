//! Evidence as it lies in files: which kind it is, is seen by what is there.

use crate::evidence::folder::Evidence;
use anyhow::Result;
use std::path::Path;

/// Reads evidence of any kind.
pub fn read(path: &Path) -> Result<Evidence> {
    Evidence::read(path)
}
