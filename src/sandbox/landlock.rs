//! The rules of Landlock.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

use super::opened::around;
use super::system::SystemPaths;
use super::walls::{Held, Opened, Walls};

/// The newest version that is known here. Rights that a kernel does not have yet are left out.
const KNOWN: ABI = ABI::V10;

/// The rules of the system's paths, most of all that a task has, made before there is one. They are for as long as the
/// [settings](super::SettingsWatch) stay as they are.
pub struct SystemRules {
    rules: RulesetCreated,
    /// What stood there.
    of: SystemPaths,
}

impl SystemRules {
    /// Makes them, for walls where mounts hide files and no port is refused; `None` where the kernel has no Landlock. What
    /// goes wrong here is found out again with the task's own rules.
    #[must_use]
    pub fn prepare() -> Option<Self> {
        if sys::landlock_abi() == 0 {
            return None;
        }
        let of = SystemPaths::now();
        let rules = new_rules(None).and_then(|rules| allow_system(rules, &of, &[])).ok()?;
        Some(Self { rules, of })
    }

    /// True if they are what would be made now.
    fn fit(&self, walls: &Walls, held: Held) -> bool {
        held.mounts && walls.refused_port.is_none() && self.of.stand()
    }
}

/// Makes the rules; `None` where the kernel has no Landlock.
///
/// # Errors
/// The kernel has it and refuses.
pub(super) fn ruleset(
    walls: &Walls,
    opened: &[Opened],
    held: Held,
    prepared: Option<SystemRules>,
) -> io::Result<Option<OwnedFd>> {
    if held.landlock == 0 {
        return Ok(None);
    }
    let made = rules(walls, opened, held, prepared).map_err(io::Error::other)?;
    Ok(made.into())
}

fn rules(
    walls: &Walls,
    opened: &[Opened],
    held: Held,
    prepared: Option<SystemRules>,
) -> Result<RulesetCreated, RulesetError> {
    let uncovered: &[PathBuf] = if held.mounts { &[] } else { &walls.hidden };
    let mut rules = match prepared.filter(|prepared| prepared.fit(walls, held)) {
        Some(prepared) => prepared.rules,
        None => allow_system(new_rules(walls.refused_port)?, &SystemPaths::now(), uncovered)?,
    };
    if held.mounts {
        rules = allow(rules, "/dev/shm".as_ref(), everything())?;
    }
    if held.temp {
        rules = allow(rules, "/tmp".as_ref(), everything())?;
    }
    for Opened { descriptor, access } in opened {
        let access = if access.is_write() { everything() } else { read() };
        rules = rules.add_rule(PathBeneath::new(descriptor, access))?;
    }
    if let Some(refused) = walls.refused_port {
        for port in (1..=u16::MAX).filter(|port| *port != refused) {
            rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(rules)
}

/// Rules that allow nothing yet.
fn new_rules(refused_port: Option<u16>) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(KNOWN))?;
    ruleset = ruleset.scope(Scope::from_all(KNOWN))?;
    if refused_port.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    ruleset.create()
}

/// Allows what every task may read of the system, but for what no mount covers, and its devices.
fn allow_system(
    mut rules: RulesetCreated,
    of: &SystemPaths,
    uncovered: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    for path in of.readable().flat_map(|path| around(path, uncovered)) {
        rules = allow(rules, &path, read())?;
    }
    for device in &of.devices {
        let access = read() | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
        rules = allow(rules, &device.path, access)?;
    }
    Ok(rules)
}

fn read() -> BitFlags<AccessFs> {
    AccessFs::from_read(KNOWN)
}

/// All rights, but for the making of devices.
fn everything() -> BitFlags<AccessFs> {
    AccessFs::from_all(KNOWN) & !(AccessFs::MakeBlock | AccessFs::MakeChar)
}

/// A path of the system, where it is there.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(found) => rules.add_rule(PathBeneath::new(found, access)),
        Err(_) => Ok(rules),
    }
}
