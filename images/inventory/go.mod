// Uses the standard library only.
module xdp-operator.io/images/inventory

go 1.26
