# `nix build -f nix/default-riscv64.nix`: a static binary (musl) for riscv64, built on another machine.
{
  pkgs ? import ./nixpkgs.nix { },
  commit ? null,
}:
pkgs.pkgsCross.riscv64.pkgsStatic.callPackage ./derivation.nix { inherit commit; }
