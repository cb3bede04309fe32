# Build and install the monitor. `make help` lists the targets.
#
# Packagers: PREFIX, DESTDIR, BINDIR, LIBEXECDIR and MANDIR are honoured, as are CARGO, CARGO_TARGET_DIR and CARGOFLAGS
# (for instance CARGOFLAGS='--offline --locked').

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR ?= $(PREFIX)/share/man

CARGO ?= cargo
CARGOFLAGS ?=
CARGO_TARGET_DIR ?= target
INSTALL ?= install

# The static build has a directory of its own, so that neither build spoils the other's cache.
STATIC_DIR ?= $(CARGO_TARGET_DIR)/static
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
MUSL = $(patsubst %-gnu,%-musl,$(HOST))
# musl where its standard library is installed, else glibc, linked statically.
STATIC_TARGET = $(shell if [ -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)/lib" ]; then echo $(MUSL); else echo $(HOST); fi)

# What the install targets install: the release build, or CONMON=... for another one.
CONMON ?= $(CARGO_TARGET_DIR)/release/conmon
MANPAGE = docs/conmon.8

.PHONY: all help build release static test check docs install install.bin install.podman install.crio install.docs uninstall clean

all: release

help: ## List the targets
	@sed -n 's/^\([a-z.]*\):.*## \(.*\)/\1\t\2/p' Makefile | sort

build: ## Build for development
	$(CARGO) build $(CARGOFLAGS)

release: ## Build for use
	$(CARGO) build --release -p conmon $(CARGOFLAGS)

# At a fixed address, so that no page has to be changed by relocation: half the private memory (docs/performance.md).
# STATIC_FLAGS= gives a position-independent one.
STATIC_FLAGS ?= -C relocation-model=static

static: ## Build a static binary (musl where installed, else glibc)
	RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static $(STATIC_FLAGS)" $(CARGO) build --release -p conmon \
		--target $(STATIC_TARGET) --target-dir $(STATIC_DIR) $(CARGOFLAGS)
	$(INSTALL) -m 755 $(STATIC_DIR)/$(STATIC_TARGET)/release/conmon $(STATIC_DIR)/conmon
	@echo "static binary: $(STATIC_DIR)/conmon"

test: ## Run all tests
	$(CARGO) test --workspace $(CARGOFLAGS)

check: ## Run formatting, lints and the checks of ci/
	ci/check.sh

docs: $(MANPAGE) ## Render the man page with go-md2man or pandoc

$(MANPAGE): docs/conmon.8.md
	@if command -v go-md2man >/dev/null; then \
		echo "go-md2man -in $< -out $@"; go-md2man -in $< -out $@.tmp; \
	elif command -v pandoc >/dev/null; then \
		echo "pandoc -s -f markdown-smart -t man $< -o $@"; \
		sed -e 's/^% *\([A-Za-z-]*\) *\([0-9]\) .*/% \U\1\E(\2)/' $< | pandoc -s -f markdown-smart -t man -o $@.tmp; \
	else \
		echo "make docs: neither go-md2man nor pandoc is installed" >&2; exit 1; \
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

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf $(STATIC_DIR) $(MANPAGE) $(MANPAGE).tmp
