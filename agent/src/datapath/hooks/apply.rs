//! Carries out changes of attached programs.

use std::{fs, io};

use xdp_plan::{
    change::{Change, XdpAttach},
    hook::{AttachPoint, Hook, Interface},
    owners::Owners,
};

use crate::{
    datapath::{
        Datapath,
        error::{ApplyError, AttachError, AttachStep, OpenError},
        hooks::{
            classifier::{Spot, clsact},
            link::{
                Attached, {self},
            },
            reader::PodEnd,
        },
    },
    node::{netns::Netns, readiness},
};

impl Datapath {
    pub(in crate::datapath) fn apply_attachment(&mut self, change: &Change) -> Result<(), ApplyError> {
        match change {
            Change::Attach {
                point,
                interface,
                mode,
            } => self.attach(*point, interface, *mode)?,
            Change::Replace { point, interface } => self.attach(*point, interface, XdpAttach::default())?,
            Change::MoveFirst { point, interface } => self.move_first(*point, interface)?,
            Change::Detach { point, interface } => self.detach(*point, interface.as_ref())?,
            Change::Probe { interface, mode } => {
                self.probe_nic(interface.ifindex, *mode)?;
            }
            Change::SetGro { host, interface } => self.set_gro(*host, interface)?,
            Change::ForgetGro { host } => forget_gro(&self.pinned.pins.gro(*host))?,
            Change::MigrateFlows => {
                let flows = self.migrate_flows()?;
                tracing::info!(flows, "migrated flows to new tables");
            }
            Change::PurgeFlows => {
                let owners = Owners::new(&self.installed()?);
                self.purge_flows(&owners, &std::collections::BTreeSet::new(), true)?;
            }
            Change::EndMigration => self.finish_migration()?,
            _ => {}
        }
        Ok(())
    }

    fn attach(
        &mut self,
        point: AttachPoint,
        interface: &Interface,
        mode: XdpAttach,
    ) -> Result<(), AttachError> {
        let (ifindex, name) = (interface.ifindex, interface.name.as_str());
        let attached = match point.hook {
            Hook::Nic => self.attach_xdp_as(ifindex, mode)?,
            Hook::PodReader => {
                let netns = self.netns(interface)?;
                let end = PodEnd {
                    netns: &netns,
                    ifindex,
                    name,
                };
                self.attach_reader(point.ifindex, end)?.1
            }
            hook => self.attach_hook(hook, ifindex, name)?.1,
        };
        let program = point.hook.program();
        match attached {
            Attached::Adopted => {}
            Attached::Created => tracing::info!(
                interface = name,
                host_ifindex = point.ifindex,
                program,
                "attached the program"
            ),
            Attached::Updated => tracing::info!(
                interface = name,
                host_ifindex = point.ifindex,
                program,
                "replaced the program"
            ),
        }
        Ok(())
    }

    fn move_first(&mut self, point: AttachPoint, interface: &Interface) -> Result<(), AttachError> {
        let (ifindex, name) = (interface.ifindex, interface.name.as_str());
        if point.hook == Hook::PodReader {
            let netns = self.netns(interface)?;
            let end = PodEnd {
                netns: &netns,
                ifindex,
                name,
            };
            self.move_classifier(&self.reader_spot(point.ifindex, end))?;
        } else {
            let spot = Spot::here(&self.pinned.pins, point.hook, ifindex, name);
            self.move_classifier(&spot)?;
        }
        tracing::info!(
            interface = name,
            host_ifindex = point.ifindex,
            program = point.hook.program(),
            "moved the program in front of those of other owners"
        );
        Ok(())
    }

    fn detach(&mut self, point: AttachPoint, interface: Option<&Interface>) -> Result<(), AttachError> {
        let was_there = match point.hook {
            Hook::PodReader => self.detach_reader(point.ifindex, interface)?,
            Hook::Nic => self.detach_hook(Hook::Nic, point.ifindex)? | self.detach_probe(point.ifindex)?,
            hook => self.detach_hook(hook, point.ifindex)?,
        };
        if was_there {
            tracing::info!(
                host_ifindex = point.ifindex,
                program = point.hook.program(),
                "detached the program"
            );
        }
        Ok(())
    }

    /// `interface`: the pod's, if it still exists; otherwise its programs are gone with it.
    fn detach_reader(&mut self, host: u32, interface: Option<&Interface>) -> Result<bool, AttachError> {
        let pins = &self.pinned.pins;
        let (tcx, filter) = (
            pins.link(Hook::PodReader, host),
            pins.filter(Hook::PodReader, host),
        );
        let failed = AttachError::at(AttachStep::Detach, host);
        let detached = link::detach(&tcx).map_err(&failed)?;
        if !filter.exists() {
            return Ok(detached);
        }
        if let Some(interface) = interface {
            let netns = self.netns(interface)?;
            let done = netns.run(|| clsact::detach(&interface.name, Hook::PodReader));
            done.map_err(|error| failed(io::Error::other(error)))?
                .map_err(&failed)?;
        }
        fs::remove_file(&filter).map_err(&failed)?;
        Ok(true)
    }

    pub(in crate::datapath) fn netns(&mut self, interface: &Interface) -> Result<Netns, AttachError> {
        let id = interface.netns_id.unwrap_or(-1);
        let refused = |error| AttachError::at(AttachStep::Enter, interface.ifindex)(io::Error::other(error));
        self.namespaces.find(id).map_err(refused)
    }

    fn set_gro(&mut self, host: u32, interface: &Interface) -> Result<(), ApplyError> {
        let refused = |(reason, message)| ApplyError::Gro { reason, message };
        let was_off = readiness::switch_gro_on(host, interface, &mut self.namespaces).map_err(refused)?;
        if was_off {
            tracing::info!(interface = interface.name, host_ifindex = host, "switched GRO on");
            // The pod takes redirects without the note, too: only uninstalling misses it.
            if let Err(error) = self.note_gro(host) {
                let error = xdp_client::error_chain(&error);
                tracing::warn!(host_ifindex = host, %error, "uninstalling will leave GRO on");
            }
        }
        Ok(())
    }
}

/// Removes a note of [`Datapath::note_gro`].
fn forget_gro(path: &std::path::Path) -> Result<(), OpenError> {
    fs::remove_dir(path).map_err(|error| OpenError::pin("remove", path, error))
}
