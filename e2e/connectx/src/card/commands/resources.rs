//! Commands for objects that are only a number: protection domains, transport domains, UAR pages, TISs.

use crate::card::{
    bits::Field,
    commands::{Answer, NOT_MODELLED, Status},
    device::{BAR_SIZE, Device, FIRST_UAR, UAR_PAGE},
    layout::{
        alloc_pd_out, alloc_transport_domain_out, alloc_uar_out, create_tis_out, dealloc_pd_in,
        dealloc_transport_domain_in, dealloc_uar_in, destroy_tis_in, modify_tis_in, opcode,
    },
};

/// A kind of such objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ProtectionDomain,
    TransportDomain,
    Uar,
    Tis,
}

impl Kind {
    fn unknown(self) -> &'static str {
        match self {
            Self::ProtectionDomain => "no such protection domain",
            Self::TransportDomain => "no such transport domain",
            Self::Uar => "no such UAR page",
            Self::Tis => "no such TIS",
        }
    }

    pub(super) fn leftover(self) -> &'static str {
        match self {
            Self::ProtectionDomain => "a protection domain is left",
            Self::TransportDomain => "a transport domain is left",
            Self::Uar => "a UAR page is left",
            Self::Tis => "a TIS is left",
        }
    }

    fn numbers(self) -> std::ops::Range<u32> {
        match self {
            Self::Uar => FIRST_UAR..(BAR_SIZE / UAR_PAGE) as u32,
            Self::ProtectionDomain | Self::TransportDomain | Self::Tis => 1..1 << 10,
        }
    }
}

impl Device {
    pub(super) fn resource_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::ALLOC_PD => self.allocate(Kind::ProtectionDomain, alloc_pd_out::PD, output),
            opcode::DEALLOC_PD => self.free(Kind::ProtectionDomain, dealloc_pd_in::PD, input),
            opcode::ALLOC_TRANSPORT_DOMAIN => self.allocate(
                Kind::TransportDomain,
                alloc_transport_domain_out::TRANSPORT_DOMAIN,
                output,
            ),
            opcode::DEALLOC_TRANSPORT_DOMAIN => self.free(
                Kind::TransportDomain,
                dealloc_transport_domain_in::TRANSPORT_DOMAIN,
                input,
            ),
            opcode::ALLOC_UAR => self.allocate(Kind::Uar, alloc_uar_out::UAR, output),
            opcode::DEALLOC_UAR => self.free(Kind::Uar, dealloc_uar_in::UAR, input),
            opcode::CREATE_TIS => self.allocate(Kind::Tis, create_tis_out::TISN, output),
            opcode::MODIFY_TIS => self.known(Kind::Tis, modify_tis_in::TISN.get(input) as u32),
            opcode::DESTROY_TIS => self.free(Kind::Tis, destroy_tis_in::TISN, input),
            opcode::CONFIG_INT_MODERATION
            | opcode::ADD_VXLAN_UDP_DPORT
            | opcode::DELETE_VXLAN_UDP_DPORT
            | opcode::SET_L2_TABLE_ENTRY
            | opcode::DELETE_L2_TABLE_ENTRY => Ok(()),
            _ => Err(NOT_MODELLED),
        }
    }

    fn allocate(&mut self, kind: Kind, field: Field, output: &mut [u8]) -> Answer {
        let mut numbers = kind.numbers();
        let number = numbers
            .find(|number| !self.resources.contains(&(kind, *number)))
            .ok_or(Status::NoResources.because("no number is left"))?;
        self.resources.insert((kind, number));
        field.set(output, u64::from(number));
        Ok(())
    }

    fn free(&mut self, kind: Kind, field: Field, input: &[u8]) -> Answer {
        let number = field.get(input) as u32;
        self.known(kind, number)?;
        self.resources.remove(&(kind, number));
        Ok(())
    }

    fn known(&self, kind: Kind, number: u32) -> Answer {
        let known = self.resources.contains(&(kind, number));
        known
            .then_some(())
            .ok_or(Status::BadResource.because(kind.unknown()))
    }

    /// Checks that an object of which a context has the number is allocated.
    pub(super) fn needs(&self, kind: Kind, number: Field, context: &[u8]) -> Answer {
        self.known(kind, number.get(context) as u32)
    }
}
