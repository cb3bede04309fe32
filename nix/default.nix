# `nix build -f nix/`: a static binary (musl) for this machine.
{
  pkgs ? import ./nixpkgs.nix { },
  commit ? null,
}:
pkgs.pkgsStatic.callPackage ./derivation.nix { inherit commit; }
