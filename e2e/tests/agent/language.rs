//! The words of a policy beside those that `traffic` uses: names of ports, types of ICMP, SCTP, and many rules.

mod icmp;
mod named_ports;
mod sctp;
mod sizes;
