export PATH := $(shell tools/setup --path)
export RUSTDOCFLAGS := -D warnings
# A test that fails says where and why; frames bury it. `make test RUST_BACKTRACE=1` shows them.
export RUST_BACKTRACE := 0

# They build for the bpf target only; the others embed them.
HOST := --workspace --exclude 'xdp-*ebpf'
# Seconds.
FUZZ ?= 30

.PHONY: help demo cluster cluster-down test e2e bench bench-nic lint images kube setup root
help: ## what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: root setup ## a policy, real clients, real pods, and the counts of all sides (KEEP=1 leaves it up)
	cargo build --locked -p xdp-agent -p xdp-e2e --bins
	KEEP=$(KEEP) cargo run --quiet --locked -p xdp-e2e --bin demo

cluster: root kube ## a real Kubernetes of two nodes on this machine, left running
	cargo build --locked -p xdp-kubernetes --bin cluster
	@cargo run --quiet --locked -p xdp-kubernetes --bin cluster up

cluster-down: root setup ## remove it
	@cargo run --quiet --locked -p xdp-kubernetes --bin cluster down

test: root kube images lint ## everything that proves it, on the running kernel
	cargo test --locked $(HOST)
	tools/fuzz $(FUZZ)

e2e: root kube images ## the product on that Kubernetes, as its users meet it: part of test
	cargo test --locked -p xdp-e2e --test kubernetes

bench: root setup ## what a packet and a change cost beside what you would have otherwise: docs/benchmarks (ONLY=B2,B4 QUICK=1 MINUTES=30)
	cargo build --locked --release -p xdp-agent -p xdp-operator -p xdp-bench --bins
	@ONLY=$(ONLY) QUICK=$(QUICK) MINUTES=$(MINUTES) cargo run --quiet --locked --release -p xdp-bench --bin bench

bench-nic: root setup ## the same on a real NIC that somebody sends packets to (NIC=…; NIC=lab tries it without one; SECONDS=)
	cargo build --locked --release -p xdp-agent -p xdp-bench --bins
	@NIC=$(NIC) SECONDS_EACH=$(SECONDS) cargo run --quiet --locked --release -p xdp-bench --bin bench-nic

lint: setup ## formatting, clippy, documentation, inherited lints
	tools/check-lints
	cargo fmt --all --check
	cargo fmt --check --manifest-path ebpf/core/fuzz/Cargo.toml
	cargo clippy --locked $(HOST) --all-targets -- -D warnings
	tools/lint-ebpf
	e2e/kubernetes/build --lint
	cargo doc --locked --no-deps $(HOST)

images: setup ## OCI archives of both images, no container engine needed: target/images (REGISTRY=localhost)
	images/build $(REGISTRY)

kube: setup ## the programs of that Kubernetes (once: seven minutes)
	@e2e/kubernetes/build

setup:
	@tools/setup

root:
	@[ "$$(id -u)" = 0 ] || { echo "network namespaces and eBPF need root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }
