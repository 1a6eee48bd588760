//! The names under which a parser publishes.

/// What a stage can publish.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resource {
    /// The kernel inside, itself perhaps another envelope.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// The kernel command line.
    Cmdline,
}

/// How a publication meets an earlier one of the same name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// It takes the earlier one's place.
    Replace,
    /// It follows the earlier one: initrds after zero padding to 4 bytes, command lines after one
    /// space.
    Append,
}

/// One name of the table [`RESOURCES`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResourceName {
    /// The string a parser passes to `bpf_copy_to_kernel`.
    pub name: &'static str,
    /// What it names.
    pub resource: Resource,
    /// How it meets an earlier publication.
    pub mode: Mode,
}

/// Every name a parser may publish under.
pub const RESOURCES: &[ResourceName] = &[
    ResourceName {
        name: "kexec:kernel",
        resource: Resource::Kernel,
        mode: Mode::Replace,
    },
    ResourceName {
        name: "kexec:initrd",
        resource: Resource::Initrd,
        mode: Mode::Replace,
    },
    ResourceName {
        name: "kexec:cmdline",
        resource: Resource::Cmdline,
        mode: Mode::Replace,
    },
    ResourceName {
        name: "kexec:initrd+",
        resource: Resource::Initrd,
        mode: Mode::Append,
    },
    ResourceName {
        name: "kexec:cmdline+",
        resource: Resource::Cmdline,
        mode: Mode::Append,
    },
];

/// The entry of [`RESOURCES`] with this name (no NUL).
#[must_use]
pub fn resource(name: &[u8]) -> Option<&'static ResourceName> {
    RESOURCES.iter().find(|entry| entry.name.as_bytes() == name)
}
