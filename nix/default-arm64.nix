# `nix build -f nix/default-arm64.nix`: a static binary (musl) for arm64, built on another machine.
{
  pkgs ? import ./nixpkgs.nix { },
  commit ? null,
}:
pkgs.pkgsCross.aarch64-multiplatform.pkgsStatic.callPackage ./derivation.nix { inherit commit; }
