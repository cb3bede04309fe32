# `nix build -f nix/default-s390x.nix`: a static binary (musl) for s390x, built on another machine.
{
  pkgs ? import ./nixpkgs.nix { },
  commit ? null,
}:
pkgs.pkgsCross.s390x.pkgsStatic.callPackage ./derivation.nix { inherit commit; }
