# `make help` lists the targets. Each works from a fresh clone, or says what it needs: lint what `make deps` installs,
# mesh-status the mesh of `make mesh-up`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# what make test runs: everything but the suite itself, which needs a cluster; what takes longest, and one core, first
LONGEST = github.com/x0tta6bl4/mesh/meshnode/internal/node
PACKAGES = $(LONGEST) $(shell $(GO) list ./... | grep -v -e '/mesh/e2e$$' -e '^$(LONGEST)$$')
# flags for the suite, for example ARGS='-ginkgo.label-filter=S1.1'
ARGS ?=
PROFILE ?= full
# how many scenarios run at a time; without it as many as there are cores
LANES ?=
# end a scenario, and take its fault back, when this PromQL returns anything: ABORT_ON='…', or off
ABORT_ON ?=
# as typed: $$namespace in it is none of make's, and it is one word for the shell
ABORT = $(if $(value ABORT_ON),-abort-on='$(subst ','\'',$(value ABORT_ON))')
# which defects make mutants and make e2e-mutants try; empty: all
ONLY ?=
# the IP family of the pods (ipv4, ipv6, dual) and their interfaces' MTU, if they matter
FAMILY ?=
MTU ?=
NETWORK = $(if $(FAMILY),-family $(FAMILY)) $(if $(MTU),-mtu $(MTU))
# how often test-kills kills, at four minutes each
KILLS ?= 50
# the Debian package of the kernel for test-kernel; user-mode-linux needs no QEMU, and is without the verifier
KERNEL ?= linux-image-amd64

# when this command began, for the time to the first spec that the suite reports
export E2E_STARTED := $(shell date -u +%Y-%m-%dT%H:%M:%S.%NZ)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | sort | awk -F'\t' '{printf "  %-24s %s\n", $$1, $$2}'
	@printf '  %-24s %s\n' e2e-SCENARIO 'run one scenario: $(SCENARIOS)'

.PHONY: e2e
e2e: runner ## run every scenario in a kind cluster of its own (PROFILE=full|quick|nightly, LANES=n, FAMILY=ipv4|ipv6|dual, MTU=1450, ABORT_ON='PromQL', ARGS=…; DRY=1 only says what would run)
	@.bin/e2e run $(if $(filter-out 0,$(DRY)),-dry )-profile $(PROFILE) $(addprefix -lanes=,$(LANES)) $(NETWORK) $(ABORT) $(ARGS)

.PHONY: e2e-new
e2e-new: runner ## write the two files of a new scenario (NAME=slow-disk)
	@.bin/e2e new $(NAME)

.PHONY: triage
triage: runner ## pack what a bug report about a run needs, without secrets (RUN=directory or its name in artifacts; the latest)
	@.bin/e2e triage $(RUN)

# the labels of the scenarios, from their registry: what each describe names
SCENARIOS := $(shell sed -nE 's/^\tName: "([a-z0-9-]+)",.*/\1/p' e2e/*_test.go)

.PHONY: scenarios
scenarios: ## print the scenarios' names as a JSON array, nightly ones too
	@printf '"%s"\n' $(SCENARIOS) | paste -sd, | sed 's/.*/[&]/'

.PHONY: e2e-controls
e2e-controls: runner ## run scenarios without their faults, with the loop off, with faults that select nothing, and with a broken harness: no criterion may pass by itself
	@.bin/e2e controls $(ARGS)

.PHONY: e2e-mutants
e2e-mutants: runner ## run scenarios with defects on purpose in the node, each of which its criterion must find (ONLY=names)
	@.bin/e2e mutants -only '$(ONLY)' $(ARGS)

.PHONY: e2e-abort
e2e-abort: runner ## run a scenario that -abort-on ends in the middle of its fault, and see that the fault is taken back at once
	@.bin/e2e abort

# any label will do; one that there is not is refused with the list of all
e2e-%: runner
	@.bin/e2e run $(if $(filter-out 0,$(DRY)),-dry )-profile $(PROFILE) $(addprefix -lanes=,$(LANES)) $(NETWORK) $(ABORT) -ginkgo.label-filter=$* $(ARGS)

.PHONY: test
test: ## run the tests that need no cluster, with the race detector
	$(GO) test -race -timeout 20m $(PACKAGES)
	$(GO) test -short ./e2e

.PHONY: test-long
test-long: ## run the long tests: more seeds, more virtual time; without the race detector, which would see the same code
	MESH_TEST_LONG=1 $(GO) test -p 1 -timeout 60m $(PACKAGES)

# Certificates: each goes through its whole space and writes meshnode/certificates/*.json.
# One core is enough, and they give way to everything else.
CERTIFY = MESH_CERTIFY=1 GOMAXPROCS=1 GOGC=200 nice -n 15 $(GO) test -count 1 -v

.PHONY: certify
certify: certify-mapek certify-crash certify-routing certify-one-way certify-changes ## make every certificate again (meshnode/CERTIFIED.md says what they are)

.PHONY: certify-mapek
certify-mapek: ## go through every sequence of signals of the control loop
	$(CERTIFY) -timeout 90m -run 'TestSequences$$' ./meshnode/internal/mapek

.PHONY: certify-crash
certify-crash: ## stop store and journal at every point of a workload (needs strace)
	$(CERTIFY) -timeout 30m -run 'TestEveryCrashPoint$$' ./meshnode/internal/certify/crash

.PHONY: certify-routing
certify-routing: ## cut every set of links of whole nodes
	$(CERTIFY) -timeout 1h -run 'TestEveryCut$$' ./meshnode/internal/node

.PHONY: certify-one-way
certify-one-way: ## cut one and two directions of links of whole nodes
	$(CERTIFY) -timeout 30m -run 'TestEveryOneWayCut$$' ./meshnode/internal/node

.PHONY: certify-changes
certify-changes: ## go through every change from a set of cut links of whole nodes to another
	$(CERTIFY) -timeout 5h -run 'TestEveryChange$$' ./meshnode/internal/node

.PHONY: certify-check
certify-check: ## fail if what a certificate is about has changed since it was made
	MESH_CERTIFY=1 $(GO) test -count 1 -run CertificatesAreFresh ./meshnode/internal/certify

.PHONY: mutants
mutants: ## build the node with each defect on purpose, and see the cheapest test of each fail (ONLY=names)
	MESH_MUTANTS='$(or $(ONLY),all)' $(GO) test -count 1 -v -timeout 90m -run 'TestTheCheapestTestFails$$' ./e2e/mutant

.PHONY: test-kernel
test-kernel: ## run the tests of the verifier, of control groups, and of the netem stand-in beside the real one, in Debian's own kernel under QEMU (KERNEL=package; needs qemu-system-x86)
	$(GO) run ./bpf/kernel -package $(KERNEL)

.PHONY: test-cleanup
test-cleanup: images ## interrupt and kill real runs at several steps and see that nothing stays behind; start two at once
	$(GO) test -tags cleanup -count 1 -timeout 30m -run 'NothingStaysBehind|SecondRunIsBusy' ./e2e/cmd/e2e

.PHONY: test-kills
test-kills: images ## kill the engine of a run at KILLS random moments; the next run passes each time
	KILLS=$(KILLS) $(GO) test -tags cleanup -count 1 -timeout 600m -run PassesAfterTheEngineWasKilled -v ./e2e/cmd/e2e

.PHONY: judge
judge: ## judge a finished run again from its artefacts, and say what would be another verdict now (RUN=artifacts/latest)
	@$(GO) test -count 1 -v ./e2e -args -judge '$(abspath $(or $(RUN),artifacts/latest))'

.PHONY: compare
compare: runner ## say which measured values have moved among the runs that were kept, and since which commit
	@.bin/e2e compare $(ARGS)

.PHONY: test-report
test-report: ## see the HTML report in a headless browser, on a phone and a desktop (needs chromium); screenshots go to artifacts/report
	REPORT_SCREENSHOTS="$(CURDIR)/artifacts/report" $(GO) test -tags browser -count 1 -timeout 15m -run Browser ./e2e/judge/report/page

.PHONY: picture
picture: ## take the README's picture of a run's report in a headless browser (RUN=artifacts/latest; needs chromium)
	REPORT_RUN='$(abspath $(or $(RUN),artifacts/latest))' REPORT_PICTURE="$(CURDIR)/e2e/report.png" $(GO) test -tags browser -count 1 -timeout 15m -v -run 'TestPictureInABrowser$$' ./e2e/judge/report/page

.PHONY: report
report: runner ## make the HTML report of a run again (RUN=directory or its name in artifacts; the latest)
	@.bin/e2e report $(RUN)

.PHONY: bench
bench: ## run the benchmarks of the node, side by side with their bare counterparts and with memberlist
	@mkdir -p artifacts/bench
	$(GO) test -run '^$$' -bench . -benchmem ./meshnode/... | tee artifacts/bench/meshnode.txt
	$(GO) test -run BesideMemberlist -v ./meshnode/internal/detect | tee artifacts/bench/memberlist.txt

.PHONY: bench-bpf
bench-bpf: ## run the benchmarks of the verifier and its pool, side by side with their bare counterparts
	@mkdir -p artifacts/bench
	$(GO) test -run '^$$' -bench . -count 10 ./bpf/... ./meshnode/internal/attest | tee artifacts/bench/bpf.txt

.PHONY: deps
deps: runner ## install what is missing from the distribution (Debian and Ubuntu, as root)
	@.bin/e2e deps

.PHONY: images
images: runner ## pull or build every image
	@.bin/e2e images

.PHONY: doctor
doctor: runner ## say what keeps the suite from running in a cluster, and what mends it (KUBECONFIG=file, or that of cluster-up; REGISTRY=host/prefix)
	@.bin/e2e doctor $(if $(findstring command line,$(origin KUBECONFIG)),-kubeconfig '$(KUBECONFIG)') $(if $(REGISTRY),-images '$(REGISTRY)')

.PHONY: cluster-up
cluster-up: runner ## create a cluster with Chaos Mesh, Prometheus, metrics-server and volumes, and leave it
	@.bin/e2e up $(NETWORK)

.PHONY: cluster-down
cluster-down: runner ## remove the cluster of cluster-up
	@.bin/e2e down

# where make push brings the images, and make doctor looks for them: host/prefix
REGISTRY ?=

.PHONY: push
push: runner ## bring the mesh's images to a registry, from which a cluster pulls them: REGISTRY=host/prefix, then -images host/prefix
	@.bin/e2e push '$(REGISTRY)'

.PHONY: mesh-up
mesh-up: runner ## make a mesh to play with, in the cluster of cluster-up, which is made if there is none
	@.bin/e2e mesh-up

.PHONY: mesh-status
mesh-status: runner ## show the mesh of mesh-up: nodes, sessions, routes, incidents (WATCH=1 until Ctrl-C)
	@.bin/e2e mesh-status$(if $(filter-out 0,$(WATCH)), -watch)

.PHONY: fault
fault: runner ## inject a fault in the mesh of mesh-up, and tell how it heals (F=network-partition; FOR=20s shortens it; Ctrl-C takes it back)
	@.bin/e2e fault$(if $(FOR), -for '$(FOR)') '$(F)'

.PHONY: mesh-down
mesh-down: runner ## remove the mesh of mesh-up; the cluster stays until cluster-down
	@.bin/e2e mesh-down

.PHONY: generate
generate: ## regenerate committed code: eBPF objects (needs clang), Chaos Mesh's manifests
	$(GO) generate ./...

# tools of lint that are Go programs: their versions stand in tools/go.mod, and in tools/actionlint/go.mod
TOOL = $(GO) tool -modfile=tools/go.mod
C_FILES = $(shell git ls-files '*.c' '*.h')
SCRIPTS = $(shell git ls-files '*.sh') .ci/run

.PHONY: lint
lint: ## format, static analysis, names, unchecked errors, dead code, C, scripts and workflows (needs what make deps installs)
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on these files' >&2; exit 1; }
	$(TOOL) golangci-lint run --allow-parallel-runners
	@# an example without an output is compiled, and called by nobody
	@dead="$$($(TOOL) deadcode -test -tags cleanup,browser ./... | sed '/_test[.]go:.*: Example/d')"; test -z "$$dead" || { echo "$$dead"; echo 'nothing calls these: remove them' >&2; exit 1; }
	@for tool in shellcheck clang-format-14; do command -v $$tool >/dev/null || { echo "$$tool is missing: make deps installs it" >&2; exit 1; }; done
	shellcheck $(SCRIPTS)
	@# its A && B || C is no if: C is for a B that fails, too
	shellcheck --exclude=SC2015 manifests/images/node/drop-empty-cgroups
	clang-format-14 --dry-run --Werror $(C_FILES)
	$(GO) tool -modfile=tools/actionlint/go.mod actionlint

.PHONY: release
release: ## build what a release publishes into .bin/release: VERSION=vX.Y.Z, which CHANGELOG.md has a section of
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+$$ ]] || { echo 'say which version: make release VERSION=vX.Y.Z' >&2; exit 1; }
	@grep -qF '## [$(VERSION:v%=%)]' CHANGELOG.md || { echo 'CHANGELOG.md has no section [$(VERSION:v%=%)]' >&2; exit 1; }
	@rm -rf .bin/release && mkdir -p .bin/release
	@awk -v version='[$(VERSION:v%=%)]' '/^## / { on = $$2 == version; next } on' CHANGELOG.md >.bin/release/NOTES.md
	for package in meshnode meshnode/cmd/meshchaos; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' \
			-o .bin/release/$${package##*/}-linux-amd64 ./$$package; done
	cd .bin/release && sha256sum mesh*-linux-* >SHA256SUMS
	test "$$(.bin/release/meshnode-linux-amd64 version)" = '$(VERSION)'

.PHONY: clean
clean: runner ## remove everything a run may have left: clusters, engine, artifacts; images stay
	@.bin/e2e clean
	rm -rf artifacts .bin

.PHONY: distclean
distclean: runner ## clean, and remove the images and what they were built from
	@.bin/e2e clean -images
	rm -rf artifacts .bin

# the suite's own command, which the go command rebuilds only when its sources change
.PHONY: runner
runner:
	@test -e .bin/e2e || echo 'building the runner, which takes a while the first time' >&2
	@$(GO) build -trimpath -o .bin/e2e ./e2e/cmd/e2e
