//! For tests: the oracle, and generators of policies, pods and packets.
