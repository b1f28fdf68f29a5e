//! Fields of a policy that `traffic` does not use: named ports, ICMP types, SCTP; and large policies.

mod icmp;
mod named_ports;
mod sctp;
mod sizes;
