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

/// A variable of the firmware or of shim that holds signature lists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether it revokes what it lists.
    pub revoked: bool,
    /// The signature lists, for [`Store::trust`] or [`Store::revoke`].
    pub bytes: Vec<u8>,
}

/// The variables of the system below `root`: the firmware's `db` and `dbx`, shim's `MokListRT` (the
/// owner's keys and the distributor's) and `MokListXRT`; empty ones are left out. These are what
/// Linux takes into its platform and machine keyrings; keys built into the kernel cannot be read
/// from outside it.
///
/// # Errors
/// `System` when there are no such variables or they cannot be read, `Malformed` for one that is no
/// signature list.
pub fn system_variables(root: &Path) -> Result<Vec<Variable>> {
    let directory = root.join(EFIVARS);
    let mut variables = Vec::new();
    let mut found = false;
    for (name, file, role) in VARIABLES {
        let Some(bytes) = read(&directory.join(file))? else {
            continue;
        };
        found = true;
        if let Some(list) = list::find(&bytes) {
            variables.push(Variable {
                name,
                revoked: role == Role::Revoked,
                bytes: list.to_vec(),
            });
        } else if bytes.len() > list::ATTRIBUTES_SIZE {
            let why = format!("{name} is no signature list");
            return Err(Error::malformed("EFI variable", why));
        }
    }
    if found {
        return Ok(variables);
    }
    let why = format!(
        "found none of db, dbx, MokListRT, MokListXRT in {}",
        directory.display()
    );
    Err(Error::new(Class::System(ENOENT), "EFI variables", why))
}

impl Store {
    /// The keys of the system below `root`; see [`system_variables`].
    ///
    /// # Errors
    /// As [`system_variables`].
    pub fn system(root: &Path) -> Result<Self> {
        let mut store = Self::new();
        for variable in system_variables(root)? {
            let role = if variable.revoked {
                Role::Revoked
            } else {
                Role::Trusted
            };
            store.add_list(&variable.bytes, variable.name, role)?;
        }
        Ok(store)
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
