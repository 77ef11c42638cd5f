# Everything on a fresh machine needs a Rust toolchain, npm and a C compiler, and one of these. For the tests also Python 3 and
# the packages postgresql, pgbouncer, chromium, prometheus, docker-compose, systemd, iproute2 and openssl (.ci/run installs what is missing):
#   make run     fetch the CLI where there is none, build, serve on http://127.0.0.1:5000
#   make demo    the same with a scripted model and tasks in all states: no account is needed
#   make test    everything that CI checks
#   make test-fast   the same in under two minutes after a build, for the time between
#   make check   format, lints, documentation, dependencies and spelling alone
#   make deployments   what stands in deploy/, tried with the programs that read it
#   make chaos   a long storm of faults (CHAOS_SECONDS, CHAOS_SEED)
#   make upgrade two versions beside each other (BASE: a revision)
#   make bench   figures beside those of others (PARTS)
#   make bench-compare   figures beside those of another revision (BASE), with intervals
#   make tools   what the tests need: the CLI, a fuzzer, makers of clients
#   make sbom    the list of what the program is made of (SPDX), in target/cc-anywhere.spdx.json
#   make clean   removes what was built and fetched
.PHONY: run demo screenshots test test-fast check deployments chaos upgrade bench bench-compare tools servers sbom clean help

# The CLI that the tests were written against. Newer ones may behave in another way.
CLAUDE_VERSION := 2.1.197
TOOLS := $(CURDIR)/.tools
CLAUDE := $(TOOLS)/node_modules/.bin/claude
STAMP := $(TOOLS)/claude-$(CLAUDE_VERSION)
# What fuzzes the contract, and what makes clients of it.
SCHEMATHESIS_VERSION := 4.32.5
PYTHON_CLIENT_VERSION := 0.29.1
TYPESCRIPT_CLIENT := openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5.9.3 @types/node@20.19.25
FUZZER := $(TOOLS)/schemathesis-$(SCHEMATHESIS_VERSION)
GENERATORS := $(TOOLS)/generators-$(PYTHON_CLIENT_VERSION)
# What checks dependencies and spelling.
CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.1
TYPOS_VERSION := 1.52.0
KUBERNETES_VALIDATE_VERSION := 1.37.0
CARGO_SBOM_VERSION := 0.10.0
# What drives the browser, and what checks that pages are open to everybody.
PLAYWRIGHT_VERSION := 1.64.1
AXE_VERSION := 4.14.1
BROWSER := $(TOOLS)/browser-$(PLAYWRIGHT_VERSION)-$(AXE_VERSION)
CHECKERS := $(TOOLS)/checkers-$(CARGO_DENY_VERSION)-$(CARGO_MACHETE_VERSION)-$(TYPOS_VERSION)-$(KUBERNETES_VALIDATE_VERSION)
# What people would use instead, for the benchmark.
PEERS := $(TOOLS)/peers

run:
	@if ! command -v claude >/dev/null; then $(MAKE) --no-print-directory $(STAMP); fi
	cargo build --release --locked
	PATH="$$PATH:$(TOOLS)/node_modules/.bin" exec ./target/release/cc-anywhere serve

demo: $(STAMP)
	cargo build --release --locked --bins --example demo
	exec ./target/release/examples/demo

# The pictures of the README, from a real run.
screenshots: $(STAMP) $(BROWSER)
	cargo build --locked --bins --example demo
	NODE_PATH=$(TOOLS)/node_modules node tests/web/screenshots.mjs ./target/debug/examples/demo docs/pictures

# Half as many tests again as there are processors: much of their time they wait for processes and timers.
test: check deployments tools
	RUST_TEST_THREADS=$$(( ($$(nproc) * 3 + 1) / 2 )) cargo test --locked --workspace --features failpoints

# What says most in the least time: rules, engines, and the service as its users see it. Slow ones have names that begin with slow_.
test-fast: $(STAMP) servers
	cargo test --locked --features failpoints --lib
	cargo test --locked --features failpoints --test it -- --skip slow_ \
		api:: client:: docs:: layers:: lists:: talk::

check: $(CHECKERS)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features failpoints,bench -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --features failpoints,bench
	cargo deny --locked check licenses bans sources
	cargo machete
	$(TOOLS)/venv/bin/typos

# What stands in deploy/ is what its programs take.
COMPOSE := $(if $(shell command -v docker-compose),docker-compose,docker compose)
UNITS := $(TOOLS)/units
deployments: servers $(CHECKERS)
	for file in compose.yaml deploy/compose.yaml; do \
		API_KEY=a-key-of-sixteen-characters ANTHROPIC_API_KEY=x DATABASE_PASSWORD=x $(COMPOSE) -f $$file config -q || exit 1; done
	$(TOOLS)/venv/bin/kubernetes-validate --quiet --strict deploy/kubernetes/*.yaml
	rm -rf $(UNITS) && mkdir -p $(UNITS)
	for unit in deploy/systemd/*.service; do sed 's,/usr/local/bin/cc-anywhere,/bin/true,' $$unit > $(UNITS)/$${unit##*/} || exit 1; done
	systemd-analyze verify $(UNITS)/*.service
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/rules_test.yml

# A long storm of faults; make test has a short one. The same seed gives the same faults.
CHAOS_SECONDS ?= 180
CHAOS_SEED ?= $(shell date +%s)
chaos: $(STAMP)
	CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) \
		cargo test --locked --features failpoints --test it chaos:: -- --nocapture

# This version beside the one of another revision, on one database.
BASE ?= HEAD
BASE_TREE := $(CURDIR)/target/base
upgrade: servers $(STAMP)
	rm -rf $(BASE_TREE) && git worktree prune && git worktree add --force --detach $(BASE_TREE) $(BASE)
	cd $(BASE_TREE) && CARGO_TARGET_DIR=$(CURDIR)/target/base-target cargo build --locked --features failpoints
	git worktree remove --force $(BASE_TREE)
	BASE_PROGRAM=$(CURDIR)/target/base-target/debug/cc-anywhere \
		cargo test --locked --features failpoints --test it upgrade:: -- --ignored

bench: $(STAMP) $(PEERS)/node_modules
	cargo bench --locked --features bench --bench bench -- $(PARTS)

# Both are built in the same way, and measured in turns.
bench-compare:
	rm -rf $(BASE_TREE) && git worktree prune && git worktree add --force --detach $(BASE_TREE) $(BASE)
	cd $(BASE_TREE) && CARGO_TARGET_DIR=$(CURDIR)/target/base-target cargo build --release --locked --features bench --bin cc-anywhere
	git worktree remove --force $(BASE_TREE)
	BASE_PROGRAM=$(CURDIR)/target/base-target/release/cc-anywhere cargo bench --locked --features bench --bench bench -- compare

# Those are measured for which Redis and PostgreSQL are here.
$(PEERS)/node_modules: benches/peers/package.json benches/peers/peers.mjs
	mkdir -p $(PEERS)
	cp $^ $(PEERS)
	cd $(PEERS) && npm install --no-audit --no-fund --loglevel=error
	touch $@

tools: servers $(STAMP) $(FUZZER) $(GENERATORS) $(CHECKERS) $(BROWSER)

# The tests start these in temporary folders.
servers:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || \
		{ echo "the tests need PostgreSQL: install the package postgresql" >&2; exit 1; }
	@for tool in systemd-analyze promtool $(firstword $(COMPOSE)); do \
		command -v $$tool >/dev/null || { echo "the checks need $$tool: install systemd, prometheus and docker-compose" >&2; exit 1; }; done
	@command -v ip >/dev/null || { echo "the tests need ip: install the package iproute2" >&2; exit 1; }
	@command -v chromium >/dev/null || { echo "the tests need a browser: install the package chromium" >&2; exit 1; }
	@command -v pgbouncer >/dev/null || { echo "the tests need pgbouncer: install the package pgbouncer" >&2; exit 1; }

$(STAMP):
	mkdir -p $(TOOLS)
	echo '{"private": true}' > $(TOOLS)/package.json
	cd $(TOOLS) && npm install --no-audit --no-fund --loglevel=error @anthropic-ai/claude-code@$(CLAUDE_VERSION)
	$(CLAUDE) --version
	touch $@

$(FUZZER):
	mkdir -p $(TOOLS)
	python3 -m venv $(TOOLS)/venv
	$(TOOLS)/venv/bin/pip install --quiet --disable-pip-version-check schemathesis==$(SCHEMATHESIS_VERSION)
	touch $@

$(GENERATORS): | $(STAMP) $(FUZZER)
	cd $(TOOLS) && npm install --no-audit --no-fund --loglevel=error $(TYPESCRIPT_CLIENT)
	$(TOOLS)/venv/bin/pip install --quiet --disable-pip-version-check openapi-python-client==$(PYTHON_CLIENT_VERSION)
	touch $@

$(BROWSER): | $(STAMP) $(GENERATORS)
	cd $(TOOLS) && npm install --no-audit --no-fund --loglevel=error playwright-core@$(PLAYWRIGHT_VERSION) axe-core@$(AXE_VERSION)
	touch $@

# Two programs of cargo's, which stay for the next time, and one of Python's.
$(CHECKERS): | $(FUZZER)
	command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny@$(CARGO_DENY_VERSION)
	command -v cargo-machete >/dev/null || cargo install --quiet --locked cargo-machete@$(CARGO_MACHETE_VERSION)
	$(TOOLS)/venv/bin/pip install --quiet --disable-pip-version-check typos==$(TYPOS_VERSION) \
		kubernetes-validate==$(KUBERNETES_VALIDATE_VERSION)
	touch $@

sbom:
	test -x $(TOOLS)/bin/cargo-sbom || cargo install --quiet --locked --root $(TOOLS) cargo-sbom@$(CARGO_SBOM_VERSION)
	mkdir -p target
	PATH="$(TOOLS)/bin:$$PATH" cargo sbom --output-format spdx_json_2_3 > target/cc-anywhere.spdx.json

help:
	@sed -n '3,14s/^# \{0,1\}//p' Makefile

clean:
	cargo clean
	rm -rf $(TOOLS)
