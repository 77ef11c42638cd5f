//! The rules of Landlock.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};

use super::opened::around;
use super::system;
use super::walls::{Held, Opened, Walls};

/// The newest version that is known here. Rights that a kernel does not have yet are left out.
const KNOWN: ABI = ABI::V10;

/// Makes the rules; `None` where the kernel has no Landlock.
///
/// # Errors
/// The kernel has it and refuses.
pub(super) fn ruleset(walls: &Walls, opened: &[Opened], held: Held) -> io::Result<Option<OwnedFd>> {
    if held.landlock == 0 {
        return Ok(None);
    }
    let made = rules(walls, opened, held).map_err(io::Error::other)?;
    Ok(made.into())
}

fn rules(walls: &Walls, opened: &[Opened], held: Held) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(KNOWN))?;
    ruleset = ruleset.scope(Scope::from_all(KNOWN))?;
    if walls.refused_port.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut rules = ruleset.create()?;
    let read = AccessFs::from_read(KNOWN);
    let uncovered: &[PathBuf] = if held.mounts { &[] } else { &walls.hidden };
    for path in system::readable().iter().flat_map(|path| around(path, uncovered)) {
        rules = allow(rules, &path, read)?;
    }
    for device in system::DEVICES {
        rules = allow(rules, device.as_ref(), read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev)?;
    }
    if held.mounts {
        rules = allow(rules, "/dev/shm".as_ref(), everything())?;
    }
    if held.temp {
        rules = allow(rules, "/tmp".as_ref(), everything())?;
    }
    for Opened { descriptor, access } in opened {
        let access = if access.is_write() { everything() } else { read };
        rules = rules.add_rule(PathBeneath::new(descriptor, access))?;
    }
    if let Some(refused) = walls.refused_port {
        for port in (1..=u16::MAX).filter(|port| *port != refused) {
            rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(rules)
}

/// All rights, but for the making of devices.
fn everything() -> BitFlags<AccessFs> {
    AccessFs::from_all(KNOWN) & !(AccessFs::MakeBlock | AccessFs::MakeChar)
}

/// A path of the system, where it is there.
fn allow(
    rules: RulesetCreated,
    path: &std::path::Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    match PathFd::new(path) {
        Ok(found) => rules.add_rule(PathBeneath::new(found, access)),
        Err(_) => Ok(rules),
    }
}
