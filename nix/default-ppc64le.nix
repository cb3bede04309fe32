# `nix build -f nix/default-ppc64le.nix`: a static binary (musl) for ppc64le, built on another machine.
{
  pkgs ? import ./nixpkgs.nix { },
  commit ? null,
}:
pkgs.pkgsCross.powernv.pkgsStatic.callPackage ./derivation.nix { inherit commit; }
