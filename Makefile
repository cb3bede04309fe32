# Build and install the monitor. `make help` lists the targets.
#
# Packagers: PREFIX, DESTDIR, BINDIR, LIBEXECDIR, DATADIR and MANDIR are honoured, as are CARGO, CARGO_TARGET_DIR, RUSTFLAGS, GOMD2MAN
# and CARGOFLAGS (for instance CARGOFLAGS='--offline --locked', or '--target aarch64-unknown-linux-gnu').
# REPRODUCIBLE=yes keeps the paths of the machine that builds out of the binary.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man

CARGO ?= cargo
CARGOFLAGS ?=
CARGO_TARGET_DIR ?= target
GOMD2MAN ?= go-md2man
INSTALL ?= install
RUSTC ?= rustc

# A build for another machine lies in a directory of its own: --target in CARGOFLAGS, or cargo's variable.
TARGET = $(or $(shell printf '%s\n' '$(CARGOFLAGS)' | sed -nE 's/.*--target[= ]+([^ ]+).*/\1/p'),$(CARGO_BUILD_TARGET))
RELEASE_DIR = $(CARGO_TARGET_DIR)/$(if $(TARGET),$(TARGET)/)release

# The static build has a directory of its own, so that neither build spoils the other's cache.
STATIC_DIR ?= $(CARGO_TARGET_DIR)/static
HOST = $(shell $(RUSTC) -vV | sed -n 's/^host: //p')
MUSL = $(patsubst %-gnu,%-musl,$(HOST))
# musl where its standard library is installed, else glibc, linked statically. A static build for another machine takes
# the C library that --target names.
STATIC_TARGET = $(or $(TARGET),$(shell if [ -d "$$($(RUSTC) --print sysroot)/lib/rustlib/$(MUSL)/lib" ]; then echo $(MUSL); else echo $(HOST); fi))

# What the install targets install: the release build, or CONMON=... for another one.
CONMON ?= $(RELEASE_DIR)/conmon
MANPAGE = docs/conmon.8

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Without the variable cargo reads flags from its configuration, where distributions put theirs; both must be kept.
CARGO_HOME_DIR = $(or $(CARGO_HOME),$(HOME)/.cargo)
REMAP = --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(CARGO_HOME_DIR)=cargo
comma := ,
empty :=
QUOTED = $(subst $(empty) $(empty),$(comma),$(foreach flag,$(1),"$(flag)"))
ifneq ($(REPRODUCIBLE),)
ifneq ($(origin RUSTFLAGS),undefined)
export RUSTFLAGS := $(RUSTFLAGS) $(REMAP)
else
REMAP_CONFIG = --config 'build.rustflags=[$(call QUOTED,$(REMAP))]'
endif
endif

.PHONY: all help build release static test check docs podman crio install install.bin install.podman install.crio install.docs \
	compat install.compat dist.compat uninstall uninstall.compat clean vendor-tarball source-tarball release-artifacts sbom nixpkgs

all: release

help: ## List the targets
	@sed -n 's/^\([a-z./-]*\):.*## \(.*\)/\1\t\2/p' Makefile | sort

build: ## Build for development
	$(CARGO) build $(CARGOFLAGS)

release: ## Build for use
	$(CARGO) build --release -p conmon $(REMAP_CONFIG) $(CARGOFLAGS)

bin/conmon: release ## Build for use, and put the binary where C conmon's makefile does
	$(INSTALL) -D -m 755 $(RELEASE_DIR)/conmon $@

podman: install.podman ## Build and install for Podman
crio: install.crio ## Build and install for CRI-O

# At a fixed address, so that no page has to be changed by relocation: a quarter less private memory (docs/performance.md).
# STATIC_FLAGS= gives a position-independent one.
STATIC_FLAGS ?= -C relocation-model=static

static: ## Build a static binary (musl where installed, else glibc)
	RUSTFLAGS="$(RUSTFLAGS) $(if $(REPRODUCIBLE),$(REMAP)) -C target-feature=+crt-static $(STATIC_FLAGS)" \
		$(CARGO) build --release -p conmon --target $(STATIC_TARGET) --target-dir $(STATIC_DIR) \
		$(shell printf '%s\n' '$(CARGOFLAGS)' | sed -E 's/--target[= ]+[^ ]+//')
	$(INSTALL) -m 755 $(STATIC_DIR)/$(STATIC_TARGET)/release/conmon $(STATIC_DIR)/conmon
	@echo "static binary: $(STATIC_DIR)/conmon, with $(if $(findstring musl,$(STATIC_TARGET)),musl,glibc) ($(STATIC_TARGET))"

test: ## Run all tests
	$(CARGO) test --workspace $(CARGOFLAGS)

check: ## Run formatting, lints and the checks of ci/
	ci/check.sh

docs: $(MANPAGE) ## Render the man page with go-md2man (GOMD2MAN) or pandoc

$(MANPAGE): docs/conmon.8.md
	@if command -v $(GOMD2MAN) >/dev/null; then \
		echo "$(GOMD2MAN) -in $< -out $@"; $(GOMD2MAN) -in $< -out $@.tmp; \
	elif command -v pandoc >/dev/null; then \
		echo "pandoc -s -f markdown-smart -t man $< -o $@"; \
		sed -e 's/^% *\([A-Za-z-]*\) *\([0-9]\) .*/% \U\1\E(\2)/' $< | pandoc -s -f markdown-smart -t man -o $@.tmp; \
	else \
		echo "make docs: neither $(GOMD2MAN) nor pandoc is installed" >&2; exit 1; \
	fi
	@mv $@.tmp $@

$(CONMON):
	$(MAKE) release

install: install.bin install.docs ## Install the binary and, if it can be rendered, the man page

install.bin: $(CONMON) ## Install the binary to BINDIR
	$(INSTALL) -D -m 755 $(CONMON) $(DESTDIR)$(BINDIR)/conmon

install.podman: $(CONMON) ## Install the binary where Podman looks first
	$(INSTALL) -D -m 755 $(CONMON) $(DESTDIR)$(LIBEXECDIR)/podman/conmon

install.crio: $(CONMON) ## Install the binary where CRI-O packages keep theirs
	$(INSTALL) -D -m 755 $(CONMON) $(DESTDIR)$(LIBEXECDIR)/crio/conmon

install.docs: ## Install the man page, if it can be rendered
	@if $(MAKE) --no-print-directory docs; then \
		echo "$(INSTALL) -D -m 644 $(MANPAGE) $(DESTDIR)$(MANDIR)/man8/conmon.8"; \
		$(INSTALL) -D -m 644 $(MANPAGE) $(DESTDIR)$(MANDIR)/man8/conmon.8; \
	else \
		echo "the man page is not installed" >&2; \
	fi

uninstall: ## Remove what the install targets put there
	rm -f $(DESTDIR)$(BINDIR)/conmon $(DESTDIR)$(LIBEXECDIR)/podman/conmon $(DESTDIR)$(LIBEXECDIR)/crio/conmon \
		$(DESTDIR)$(MANDIR)/man8/conmon.8

# The conformance suite is built apart, because no path of the build may be in it: it finds its helpers beside itself and its
# data in DATADIR above.
COMPAT_BUILD = $(CARGO_TARGET_DIR)/compat
COMPAT_RELEASE = $(COMPAT_BUILD)/$(if $(TARGET),$(TARGET)/)release
COMPAT_PROGRAMS = conmon-compat podman-compat crio-compat attach-client exit-recorder fault-stage payload recording-runtime \
	standin-runtime
COMPAT_LIBEXEC = $(LIBEXECDIR)/conmon-compat
COMPAT_DATA = $(DATADIR)/conmon-compat
# Both directories as seen from the root, so that the link is right below any DESTDIR and wherever the tree is moved.
COMPAT_LINK = $(shell realpath -m -s --relative-to=$(BINDIR) $(COMPAT_LIBEXEC))

# Without the monitor's whole-program optimisation, which would take minutes and gain nothing here.
COMPAT_PROFILE = CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

compat: ## Build the conformance suite and its helpers
	$(COMPAT_PROFILE) RUSTFLAGS="$(filter-out $(REMAP),$(RUSTFLAGS)) $(REMAP)" $(CARGO) build --release -p conmon-compat \
		-p conmon-compat-helpers --bins --target-dir $(COMPAT_BUILD) $(CARGOFLAGS)
	@test -e $(COMPAT_RELEASE)/payload || { echo "make compat: no static C library for the payload (libc6-dev, glibc-static)" >&2; exit 1; }

install.compat: compat ## Install the conformance suite: conmon-compat, its helpers and its data
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(COMPAT_LIBEXEC) $(DESTDIR)$(COMPAT_DATA)
	$(INSTALL) -m 755 $(addprefix $(COMPAT_RELEASE)/,$(COMPAT_PROGRAMS)) $(DESTDIR)$(COMPAT_LIBEXEC)
	ln -sf $(COMPAT_LINK)/conmon-compat $(DESTDIR)$(BINDIR)/conmon-compat
	cd fixtures && find * -type f -exec $(INSTALL) -D -m 644 {} $(abspath $(DESTDIR)$(COMPAT_DATA))/{} \;

dist.compat: ## Make DIST_DIR/conmon-compat-VERSION-ARCH.tar.gz, which runs from any directory
	rm -rf $(DIST_DIR)/compat
	$(MAKE) --no-print-directory install.compat DESTDIR=$(abspath $(DIST_DIR)/compat) PREFIX=/$(COMPAT_NAME)
	$(INSTALL) -m 644 LICENSE docs/compat.md $(DIST_DIR)/compat/$(COMPAT_NAME)
	tar -C $(DIST_DIR)/compat --sort=name --owner=0 --group=0 --numeric-owner -czf $(DIST_DIR)/$(COMPAT_NAME).tar.gz $(COMPAT_NAME)
	rm -rf $(DIST_DIR)/compat
	@echo $(DIST_DIR)/$(COMPAT_NAME).tar.gz

COMPAT_NAME = conmon-compat-$(VERSION)-$(firstword $(subst -, ,$(or $(TARGET),$(HOST))))

uninstall.compat: ## Remove the conformance suite
	rm -rf $(DESTDIR)$(COMPAT_LIBEXEC) $(DESTDIR)$(COMPAT_DATA)
	rm -f $(DESTDIR)$(BINDIR)/conmon-compat

DIST_DIR ?= $(CARGO_TARGET_DIR)/dist

source-tarball: ## Make DIST_DIR/conmon-VERSION.tar.gz of the commit that is checked out
	ci/dist.sh source $(DIST_DIR)

vendor-tarball: ## Make DIST_DIR/conmon-VERSION-vendor.tar.xz, the crates for a build without network
	ci/dist.sh vendor $(DIST_DIR)

sbom: ## Make DIST_DIR/conmon-VERSION.cdx.json, what the binary is made of (CycloneDX)
	ci/dist.sh sbom $(DIST_DIR)

release-artifacts: ## Make everything a release consists of, in DIST_DIR; ARCHES='amd64 arm64' for fewer binaries
	ci/dist.sh all $(DIST_DIR) $(ARCHES)

nixpkgs: ## Take the newest nixpkgs for the nix build (nix/nixpkgs.json)
	nix/update.sh

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf $(STATIC_DIR) $(MANPAGE) $(MANPAGE).tmp bin
