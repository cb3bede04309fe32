# nixpkgs: the revision of nixpkgs.json where `make nixpkgs` has written one, else the stable branch of the day.
let
  file = ./nixpkgs.json;
  pin = builtins.fromJSON (builtins.readFile file);
in
import (
  if builtins.pathExists file then
    builtins.fetchTarball { inherit (pin) url sha256; }
  else
    builtins.fetchTarball "https://github.com/NixOS/nixpkgs/archive/nixos-25.11.tar.gz"
)
