//! The running system's keys, as the firmware and shim hand them on.

use std::fs;
use std::io;
use std::path::Path;

use kpeel_envelope::error::Class;

use super::{Role, Store, list};
use crate::error::{Error, Result};

/// Where Linux shows EFI variables.
const EFIVARS: &str = "sys/firmware/efi/efivars";
/// Largest variable read: firmware stores are some hundred KiB at most.
const MAX_SIZE: u64 = 4 << 20;

/// `EFI_IMAGE_SECURITY_DATABASE_GUID` (UEFI specification) and `SHIM_LOCK_GUID` (shim).
const VARIABLES: [(&str, &str, Role); 4] = [
    (
        "db",
        "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f",
        Role::Trusted,
    ),
    (
        "dbx",
        "dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f",
        Role::Revoked,
    ),
    (
        "MokListRT",
        "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23",
        Role::Trusted,
    ),
    (
        "MokListXRT",
        "MokListXRT-605dab50-e046-4300-abb6-3dd810dd8b23",
        Role::Revoked,
    ),
];

impl Store {
    /// The keys of the system below `root`: the firmware's `db` and `dbx`, shim's `MokListRT` (the
    /// owner's keys and the distributor's) and `MokListXRT`. These are what Linux takes into its
    /// platform and machine keyrings; keys built into the kernel cannot be read from outside it.
    ///
    /// # Errors
    /// `System` when there are no such variables or they cannot be read, `Malformed` for lists that
    /// cannot.
    pub fn system(root: &Path) -> Result<Self> {
        let directory = root.join(EFIVARS);
        let mut store = Self::new();
        let mut found = false;
        for (name, file, role) in VARIABLES {
            let path = directory.join(file);
            let Some(bytes) = read(&path)? else {
                continue;
            };
            found = true;
            // Attributes alone are an empty list.
            if let Some(list) = list::find(&bytes) {
                store.add_list(list, name, role)?;
            } else if bytes.len() > 4 {
                return Err(Error::malformed(
                    "EFI variable",
                    format!("{name} is no signature list"),
                ));
            }
        }
        if found {
            return Ok(store);
        }
        let why = format!(
            "found none of db, dbx, MokListRT, MokListXRT in {}",
            directory.display()
        );
        Err(Error::new(Class::System(ENOENT), "EFI variables", why))
    }
}

const ENOENT: i32 = 2;

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failure = |error: io::Error| {
        let class = Class::System(error.raw_os_error().unwrap_or(0));
        let why = format!("{}: {error}", path.display());
        Error::new(class, "EFI variable", why)
    };
    let size = match fs::metadata(path) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    if size > MAX_SIZE {
        let why = format!("found {size} bytes, needed at most {MAX_SIZE}");
        return Err(Error::malformed("EFI variable", why));
    }
    fs::read(path).map(Some).map_err(failure)
}
