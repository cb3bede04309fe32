#!/bin/bash
# Builds a static release binary for another architecture, runs the unit tests built for it, or lets the compiler judge it.
#
#   ci/cross.sh build ARCH OUT     OUT becomes the binary (statically linked with glibc)
#   ci/cross.sh test ARCH          below qemu-user where the machine cannot run it itself
#   ci/cross.sh check ARCH         a warning is an error: what only that C library or word size brings up
#
# ARCH is amd64, arm64, arm, 386, ppc64le, riscv64 or s390x, as container engines name them, or musl: this machine's
# architecture with that C library. Needed: gcc for the target with its static C library (Debian: gcc-aarch64-linux-gnu and
# libc6-dev-arm64-cross, ...; musl-tools) and Rust's standard library for it: rustup's, or Debian's package of the same version
# as the compiler, which is fetched. Debian has none for musl: it is built from rust-src. Status 3: this machine lacks one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
mode=${1:?build, test or check} arch=${2:?an architecture}
lacks() {
    say "cross: $arch: $*"
    exit 3
}

case $arch in
amd64) target=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu debian=amd64 qemu=x86_64 ;;
arm64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu debian=arm64 qemu=aarch64 ;;
arm) target=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf debian=armhf qemu=arm ;;
386) target=i686-unknown-linux-gnu gnu=i686-linux-gnu debian=i386 qemu=i386 ;;
ppc64le) target=powerpc64le-unknown-linux-gnu gnu=powerpc64le-linux-gnu debian=ppc64el qemu=ppc64le ;;
riscv64) target=riscv64gc-unknown-linux-gnu gnu=riscv64-linux-gnu debian=riscv64 qemu=riscv64 ;;
s390x) target=s390x-unknown-linux-gnu gnu=s390x-linux-gnu debian=s390x qemu=s390x ;;
musl) target=$(uname -m)-unknown-linux-musl gnu=musl debian='' qemu='' ;;
*) die "unknown architecture $arch" ;;
esac
host=$(rustc -vV | sed -n 's/^host: //p')
work=$TARGET/cross
mkdir -p "$work"
work=$(cd "$work" && pwd)

cc=$gnu-gcc
[ "$target" != "$host" ] || cc=cc
have "$cc" || lacks "$cc is missing"
variable=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")
export "${variable}_LINKER=$cc"

# The standard library: installed, to be had from rustup, or Debian's package unpacked into a root of its own.
flags=
build_std=()
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    if have rustup && [[ $(rustc --print sysroot) == */toolchains/* ]]; then
        rustup target add "$target" >&2 || lacks "no standard library for $target"
    elif [ "$arch" = musl ]; then
        [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std" ] || lacks "rust-src is missing"
        # std asks for an unwinder's archive by the name that LLVM's has; gcc's does the same, but for a function of
        # glibc's, which finds nothing here: a panic ends the program.
        rm -rf "$work/unwind" && mkdir "$work/unwind"
        cp "$(cc -print-file-name=libgcc_eh.a)" "$work/unwind/libunwind.a"
        echo 'int _dl_find_object(void *address, void *result) { return -1; }' | musl-gcc -w -c -x c -o "$work/unwind/find.o" -
        ar r "$work/unwind/libunwind.a" "$work/unwind/find.o"
        export RUSTC_BOOTSTRAP=1
        build_std=("-Zbuild-std=std,panic_abort")
        flags="-Clink-self-contained=no -Lnative=$work/unwind"
    else
        sysroot=$work/sysroot-$arch
        if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
            package=libstd-rust-dev:$debian
            # It may be installed for several architectures.
            version=$(dpkg-query -W -f '${Version}' "libstd-rust-dev:$(dpkg --print-architecture)" 2>/dev/null) || lacks "Debian's rustc is not installed"
            dpkg --print-foreign-architectures | grep -qx "$debian" ||
                { [ "$(id -u)" = 0 ] && dpkg --add-architecture "$debian" && apt-get update -qq >&2; } || true
            (cd "$work" && rm -f libstd-rust-dev_*_"$debian.deb" && apt-get download -qq "$package=$version" >&2) ||
                lacks "$package $version cannot be fetched"
            rm -rf "$sysroot" "$work/unpacked"
            dpkg-deb -x "$work"/libstd-rust-dev_*_"$debian.deb" "$work/unpacked"
            mkdir -p "$sysroot/lib"
            mv "$work/unpacked/usr/lib/rustlib" "$sysroot/lib/"
            rm -rf "$work/unpacked" "$work"/libstd-rust-dev_*_"$debian.deb"
        fi
        flags="--sysroot=$sysroot"
    fi
fi

case $mode in
build)
    out=${3:?where to put the binary}
    echo 'int main(void) { return 0; }' | "$cc" -static -x c -o "$work/probe" - 2>/dev/null || lacks "$cc has no static C library"
    rm -f "$work/probe"
    make --no-print-directory static REPRODUCIBLE=yes RUSTFLAGS="$flags" STATIC_DIR="$work/static-$arch" \
        CARGOFLAGS="--locked ${CARGO_NET_OFFLINE:+--offline} --target $target ${build_std[*]}" >&2
    mkdir -p "$(dirname "$out")"
    install -m 755 "$work/static-$arch/conmon" "$out"
    ;;
test)
    skip=()
    case $target in
    "$host" | *-musl) ;;
    i686-*) # The kernel runs it; the libraries are the cross compiler's.
        export "${variable}_RUNNER=env LD_LIBRARY_PATH=/usr/$gnu/lib"
        ;;
    *)
        have "qemu-$qemu" || lacks "qemu-$qemu is missing"
        export CONMON_TEST_EMULATOR="qemu-$qemu -L /usr/$gnu" "${variable}_RUNNER=qemu-$qemu -L /usr/$gnu"
        # qemu-user knows clone(2) for a thread and for a fork only, not for a child that shares the memory.
        skip=(--skip a_child_syncs_a_file --skip a_child_has_the_memory_to_itself)
        ;;
    esac
    RUSTFLAGS=$flags CARGO_PROFILE_DEV_DEBUG=0 cargo test --locked ${CARGO_NET_OFFLINE:+--offline} -p conmon --bins "${build_std[@]}" \
        --target "$target" --target-dir "$work/tests" -- "${skip[@]}"
    ;;
check)
    RUSTFLAGS="$flags -D warnings" cargo check --locked ${CARGO_NET_OFFLINE:+--offline} -p conmon --all-targets "${build_std[@]}" \
        --target "$target" --target-dir "$work/check"
    ;;
*) die "build, test or check, not $mode" ;;
esac
