export PATH := $(shell tools/setup --path)
export RUSTDOCFLAGS := -D warnings
# A failed test says where and why; a backtrace hides that. `make test RUST_BACKTRACE=1` shows it.
export RUST_BACKTRACE := 0

# The eBPF packages build for the bpf target only; other packages embed them.
HOST := --workspace --exclude 'xdp-*ebpf'
# How long `make test` fuzzes, in seconds.
FUZZ ?= 30

.PHONY: help demo cluster cluster-down test test-on-kernels test-on-this-kernel test-scale conformance-netpol test-mlx5 test-arm64 acceptance acceptance-peer e2e fuzz-tenants soak-tenant bench bench-nic lint images test-images kube machines setup setup-lint root
help: ## show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: root setup ## show the product at work: real clients, real pods, counts of all sides (KEEP=1 keeps it running)
	cargo build --locked -p xdp-agent -p xdp-e2e --bins
	KEEP=$(KEEP) cargo run --quiet --locked -p xdp-e2e --bin demo

cluster: root kube ## start a real Kubernetes with two nodes on this machine, and keep it running
	cargo build --locked -p xdp-kubernetes --bin cluster
	@cargo run --quiet --locked -p xdp-kubernetes --bin cluster up

cluster-down: root setup ## stop it and remove it
	@cargo run --quiet --locked -p xdp-kubernetes --bin cluster down

test: root setup setup-lint ## run all tests and checks: on this kernel, on others in virtual machines, on a real Kubernetes (FUZZ=30 seconds)
	@# Side by side, because each of them waits at times: for downloads, and for a last compiler or linker.
	@$(MAKE) --jobs --no-print-directory kube images machines lint
	cargo build --locked -p xdp-operator
	cargo test --locked $(HOST) --no-run
	@# The machines compute all the time, and a cluster waits most of it.
	@$(MAKE) --jobs --no-print-directory test-on-kernels test-on-this-kernel
	tools/fuzz $(FUZZ)

test-on-kernels:
	nice -n 10 cargo test --locked $(HOST) --test mlx5

test-on-this-kernel:
	cargo test --locked $(HOST) -- --skip mlx5_is_accepted --skip native_drivers_are_accepted

test-scale: root kube ## keep all CPUs busy while the operator serves 5,000 nodes, 50,000 pods and 1,000 policies (NODES=5000)
	cargo build --locked --release -p xdp-operator
	NODES=$(or $(NODES),5000) OPERATOR=target/release/xdp-operator cargo test --locked -p xdp-e2e --test control_plane -- --nocapture contention

conformance-netpol: root kube images ## run Kubernetes' own tests about NetworkPolicies with an engine, without redirects and with (FOCUS=Netpol)
	e2e/kubernetes/build --conformance
	FOCUS='$(FOCUS)' cargo run --quiet --locked -p xdp-e2e --bin conformance

test-mlx5: root machines ## run the acceptance on the mlx5 driver and others, in virtual machines (KERNELS=all ONLY=redirected PAGE=1)
	cargo test --locked -p xdp-connectx --test machine --test driver
	cargo build --locked -p xdp-agent -p xdp-e2e --bins
	KERNELS=$(KERNELS) ONLY=$(ONLY) cargo test --locked -p xdp-e2e --test mlx5 -- --nocapture
ifdef PAGE
	target/debug/acceptance page target/acceptance >docs/reference/drivers.md
endif

test-arm64: root setup ## run the acceptance on the mlx5 driver on arm64 with pages of 16 KiB (ONLY=redirected)
	cargo run --quiet --locked -p xdp-connectx --bin machines -- --arm64
	tools/cross build -p xdp-agent -p xdp-e2e --bin xdp-agent --bin acceptance
	cargo build --locked -p xdp-agent -p xdp-e2e --bins
	KERNELS=arm64 ONLY=$(ONLY) cargo test --locked -p xdp-e2e --test mlx5 -- --nocapture arm64

acceptance: root setup ## test a NIC of this machine with the agent (NIC=NAME PEER=HOST:9470; NIC=lab: a veth pair)
	cargo build --locked -p xdp-agent -p xdp-e2e --bins
	@cargo run --quiet --locked -p xdp-e2e --bin acceptance run --nic '$(NIC)' $(if $(PEER),--peer tcp:$(PEER)) --report target/acceptance.json

acceptance-peer: root setup ## be the other end of the wire for `make acceptance` on another machine (INTERFACE=NAME LISTEN=0.0.0.0:9470)
	@cargo run --quiet --locked -p xdp-e2e --bin acceptance peer --interface '$(INTERFACE)' $(if $(LISTEN),--listen $(LISTEN))

fuzz-tenants: setup ## fuzz the policies of two tenants: compiler, tables, verdicts (MINUTES=10)
	tools/fuzz --tenants $$(($(or $(MINUTES),10) * 60))

soak-tenant: root kube images ## let a random hostile tenant attack another one, by the API, on a node and in a cluster, each for MINUTES=60; print what that one noticed
	cargo build --locked -p xdp-agent -p xdp-operator -p xdp-e2e --bins
	MINUTES=$(or $(MINUTES),60) cargo test --locked -p xdp-e2e --test control_plane -- --nocapture hostile
	MINUTES=$(or $(MINUTES),60) cargo test --locked -p xdp-e2e --test agent -- --nocapture tenants::soak
	MINUTES=$(or $(MINUTES),60) cargo test --locked -p xdp-e2e --test kubernetes -- --nocapture tenants

e2e: root kube images ## run the tests on a real Kubernetes alone
	cargo test --locked -p xdp-e2e --test kubernetes

bench: root setup ## run the benchmarks and write docs/benchmarks (ONLY=B2,B4 QUICK=1 MINUTES=30 OPERATOR=PATH)
	cargo build --locked --release -p xdp-agent -p xdp-operator -p xdp-bench --bins
	@ONLY=$(ONLY) QUICK=$(QUICK) MINUTES=$(MINUTES) OPERATOR=$(OPERATOR) cargo run --quiet --locked --release -p xdp-bench --bin bench

bench-nic: root setup ## measure on a NIC that another machine sends packets to (NIC=NAME SECONDS=2; NIC=lab: a veth pair)
	cargo build --locked --release -p xdp-agent -p xdp-bench --bins
	@NIC=$(NIC) SECONDS_EACH=$(SECONDS) cargo run --quiet --locked --release -p xdp-bench --bin bench-nic

lint: setup-lint ## check formatting, lints, documentation, words, links and licences
	tools/check-lints
	tools/check-types
	tools/check-docs
	tools/check-words
	tools/check-width
	tools/check-deny
	tools/check-format
	cargo clippy --locked $(HOST) --all-targets -- -D warnings
	tools/lint-ebpf
	e2e/kubernetes/build --lint
	images/build --lint
	cargo doc --locked --no-deps $(HOST)

images: setup ## build both images as OCI archives in target/images, without a container engine (REGISTRY=localhost ARCH=amd64,arm64)
	images/build "$(REGISTRY)" $(ARCH)

test-images: setup ## build the images twice, in different folders, and compare them byte for byte (two release builds; ARCH=amd64,arm64)
	images/repeat "$(REGISTRY)" $(ARCH)

kube: setup ## build Kubernetes binaries (once, ~7 min)
	@e2e/kubernetes/build

machines: setup ## fetch QEMU and the kernels that tests boot, into .tools/machines (quick when present; UPDATE=1: newer ones)
	@cargo run --quiet --locked -p xdp-connectx --bin machines -- $(if $(UPDATE),--update)

setup: ## install what building needs: packages, Go, bpf-linker (once)
	@tools/setup

setup-lint:
	@tools/setup --lint

root:
	@[ "$$(id -u)" = 0 ] || { echo "network namespaces and eBPF need root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }
