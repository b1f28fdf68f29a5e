//! Networks in CIDR notation.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Block,
    fault::{Fault, FieldFault},
};
use crate::IpBlock;

pub(super) fn convert_block(path: &str, block: &IpBlock) -> Result<Block, FieldFault> {
    let cidr = parse(&format!("{path}.cidr"), &block.cidr)?;
    let except = block.except.iter().enumerate();
    let except = except
        .map(|(index, text)| {
            let field = format!("{path}.except[{index}]");
            let net = parse(&field, text)?;
            check_inside(cidr, net).map_err(|fault| FieldFault::new(field, &text, fault))?;
            Ok(net)
        })
        .collect::<Result<_, _>>()?;
    Ok(Block { cidr, except })
}

fn check_inside(cidr: IpNet, except: IpNet) -> Result<(), Fault> {
    let name = cidr.to_string();
    if cidr.addr().is_ipv4() != except.addr().is_ipv4() {
        return Err(Fault::MixedFamilies { cidr: name });
    }
    if !cidr.contains(&except) {
        return Err(Fault::ExceptOutside { cidr: name });
    }
    Ok(())
}

fn parse(field: &str, text: &str) -> Result<IpNet, FieldFault> {
    network(text).map_err(|fault| FieldFault::new(field, &text, fault))
}

fn network(text: &str) -> Result<IpNet, Fault> {
    let (address, length) = text.split_once('/').ok_or(Fault::NotCidr)?;
    let address: IpAddr = address.parse().map_err(|_| Fault::NotCidr)?;
    let leading_zero = length.len() > 1 && length.starts_with('0');
    if length.is_empty() || leading_zero || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NotCidr);
    }
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let too_long = Fault::PrefixTooLong { longest };
    let length: u8 = length.parse().map_err(|_| too_long.clone())?;
    let net = IpNet::new(address, length).map_err(|_| too_long)?;
    if net.trunc() != net {
        let network = net.trunc().to_string();
        return Err(Fault::HostBits { network });
    }
    if is_mapped(net) {
        return Err(Fault::MappedV4);
    }
    Ok(net)
}

/// Returns whether all addresses of the network are IPv4-mapped. Packets do not have such addresses.
fn is_mapped(net: IpNet) -> bool {
    let mapped = Ipv6Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96);
    IpNet::V6(mapped).contains(&net)
}
