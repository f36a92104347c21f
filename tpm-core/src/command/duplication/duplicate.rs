//! TPM2_Duplicate (Part 3, 13.1).

use crate::command::Command;
use crate::command::area::{Dup, handles, params, reply};
use crate::crypto::hash::MAX_DIGEST;
