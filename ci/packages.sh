#!/bin/bash
# Builds the packages and lets lintian and rpmlint judge them; checks what is shipped beside them.
#
#   ci/packages.sh --quick [OUT]   without optimizing and tests: is everything in its place? A minute; .ci/run does it
#   ci/packages.sh [OUT]           the real packages, from source packages and without network; the reproducible build
#
# OUT gets the packages. A tool that is missing and cannot be installed is said and skipped; the last line counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
quick=
[ "${1:-}" != --quick ] || { quick=yes && shift; }
work=$(mktemp -d "${TMPDIR:-/tmp}/conmon-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
out=${1:-$work/out}
mkdir -p "$out"
out=$(cd "$out" && pwd)
need_cargo
version=$(ci/version.sh)
passed=0 failed=0 skipped=0

# check NAME COMMAND...: runs it; its output is shown when it fails.
check() {
    local name=$1 from=$SECONDS status=0
    shift
    # In a condition `set -e` is off, and all but a function's last command could fail unseen.
    set +e
    (
        set -e
        "$@"
    ) >"$work/log" 2>&1 </dev/null
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        say "passed: $name ($((SECONDS - from)) s)"
        passed=$((passed + 1))
    else
        tail -n 60 "$work/log" >&2
        say "FAILED: $name"
        failed=$((failed + 1))
    fi
}
skip() {
    say "skipped: $*"
    skipped=$((skipped + 1))
}
# Installs what is missing where that can be; says whether it is there then.
tool() { have "$1" || { [ "$(id -u)" = 0 ] && install_packages "$2" "$3"; } >/dev/null 2>&1 && have "$1"; }

if [ -n "$quick" ]; then
    # Where things lie and what the files say does not depend on how well the code is optimized.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    export CARGO_PROFILE_RELEASE_DEBUG=0 DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=pkg.conmon.nocompat
    rpm_options=(--without check --without compat)
else
    rpm_options=()
fi

debian() {
    local tree=$work/deb/conmon-$version
    if [ -n "$quick" ]; then
        mkdir -p "$tree"
        git ls-files -z --cached | xargs -0 tar -c --ignore-failed-read 2>/dev/null | tar -x -C "$tree"
        # The crates that are at hand; what was compiled for them is of use to the RPM, too.
        mkdir -p "$tree/debian/cargo_home"
        ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$tree/debian/cargo_home/registry"
        (cd "$tree" && dpkg-buildpackage -d -b -us -uc)
    else
        ci/debian-source.sh "$work/deb"
        # A compiler that is not Debian's fulfils no build dependency.
        local options=(-us -uc)
        dpkg-query -W rustc libstd-rust-dev >/dev/null 2>&1 || options+=(-d)
        (cd "$tree" && dpkg-buildpackage "${options[@]}")
    fi
    cp "$work"/deb/*.deb "$out/"
    [ "$(dpkg-deb -f "$work"/deb/conmon_*.deb Version)" = "$version-1" ]
    dpkg-deb -x "$work"/deb/conmon_*.deb "$work/deb/root"
    "$work/deb/root/usr/bin/conmon" --version | grep -qxF "conmon version $version"
    [ -e "$work/deb/root/usr/share/man/man8/conmon.8.gz" ]
    if [ -z "$quick" ]; then
        dpkg-deb -x "$work"/deb/conmon-compat_*.deb "$work/deb/compat"
        nowhere "$work/deb/compat" "$tree"
    fi
}

# nowhere DIRECTORY PLACE: no file names the place it was built in, because the suite runs from anywhere.
nowhere() {
    if LC_ALL=C grep -r -a -o -m 3 -e "$2[ -~]*" "$1"; then echo "the suite names the place it was built in" && return 1; fi
}

# Older versions of the tools know less than the files say.
deb_lint() { lintian --fail-on error,warning --suppress-tags "$(paste -sd , ci/lintian.ignore)" "$work"/deb/*.changes; }

rpm_package() {
    local top=$work/rpm
    mkdir -p "$top/SOURCES"
    if [ -n "$quick" ]; then
        git ls-files -z --cached | xargs -0 tar -c --ignore-failed-read --transform "s,^,conmon-$version/," 2>/dev/null |
            gzip -1 >"$top/SOURCES/conmon-$version.tar.gz"
        mkdir -p "$work/vendor"
        cargo vendor --locked --versioned-dirs "$work/vendor" >/dev/null 2>&1
        tar -C "$work" -cf - vendor | xz -T0 -0 >"$top/SOURCES/conmon-$version-vendor.tar.xz"
        rm -rf "$work/vendor"
    else
        ci/dist.sh source "$top/SOURCES"
        ci/dist.sh vendor "$top/SOURCES"
    fi
    # On Fedora the macros are there; elsewhere ours stand in for them, and no build dependency is looked for.
    local macros=() nodeps=()
    [ -e /usr/lib/rpm/macros.d/macros.cargo ] || { macros=(--load "$PWD/ci/rpm/macros.standin") && nodeps=(--nodeps); }
    # What the distribution's flags say comes after what the profile says.
    rpmspec "${macros[@]}" -P rpm/conmon.spec >"$work/spec"
    grep -q -- '-Copt-level=s' "$work/spec" || { echo "the RPM is not built for size" && return 1; }
    rpmbuild "${macros[@]}" --define "_topdir $top" "${nodeps[@]}" -ba rpm/conmon.spec "${rpm_options[@]}"
    cp "$top"/RPMS/*/*.rpm "$top"/SRPMS/*.rpm "$out/"
    if [ -z "$quick" ]; then
        mkdir "$top/compat"
        rpm2cpio "$top"/RPMS/*/conmon-compat-2*.rpm | (cd "$top/compat" && cpio -idm --quiet)
        nowhere "$top/compat" "$top"
    fi
    rpm -qp --qf '%{EPOCH}:%{VERSION}\n' "$top"/RPMS/*/conmon-2*.rpm | grep -qE "^[23]:${version//+/\\+}$"
}

rpm_lint() {
    # The stand-in macros are for the spec file, too.
    mkdir -p "$work/home"
    [ -e /usr/lib/rpm/macros.d/macros.cargo ] || cp ci/rpm/macros.standin "$work/home/.rpmmacros"
    local packages=("$work"/rpm/RPMS/*/conmon-2*.rpm)
    [ -n "$quick" ] || packages+=("$work"/rpm/RPMS/*/conmon-compat-2*.rpm)
    # Not every version finds everything that the file filters, and an unused filter counts as an error.
    HOME=$work/home rpmlint --rpmlintrc ci/rpm/rpmlintrc rpm/conmon.spec "${packages[@]}" | tee "$work/rpmlint" || true
    grep -q ' packages and 1 specfiles checked' "$work/rpmlint"
    ! grep ': E: ' "$work/rpmlint" | grep -v unused-rpmlintrc-filter
}

check versions ci/version.sh
check "man page" ci/man.sh
if tool nix-instantiate nix-bin ""; then check nix ci/nix.sh; else skip "nix: nix-instantiate is missing"; fi
if have cargo-deny; then check licences cargo deny --workspace check licenses bans sources; else skip "cargo-deny is missing"; fi
if tool dpkg-buildpackage "dpkg-dev debhelper go-md2man" "" && tool dh "debhelper" "" && tool go-md2man go-md2man ""; then
    check "Debian package" debian
    if tool lintian lintian ""; then check lintian deb_lint; else skip "lintian is missing"; fi
else
    skip "Debian package: dpkg-buildpackage, debhelper or go-md2man is missing"
fi
if tool rpmbuild rpm "rpm-build cargo-rpm-macros" && tool eu-strip elfutils elfutils && tool go-md2man go-md2man go-md2man; then
    check "RPM" rpm_package
    if tool rpmlint rpmlint rpmlint; then check rpmlint rpm_lint; else skip "rpmlint is missing"; fi
else
    skip "RPM: rpmbuild, eu-strip or go-md2man is missing"
fi
if [ -z "$quick" ]; then
    check "debian/copyright" debian/update-copyright --check
    check "reproducible build" ci/reproducible.sh
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
