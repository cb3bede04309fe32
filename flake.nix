{
  description = "conmon, an OCI container monitor";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "riscv64-linux"
      ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      commit = self.rev or self.dirtyRev or null;
    in
    {
      packages = each (pkgs: rec {
        default = conmon;
        conmon = pkgs.callPackage ./nix/derivation.nix { inherit commit; };
        static = pkgs.pkgsStatic.callPackage ./nix/derivation.nix { inherit commit; };
      });

      # The build runs the unit tests; this runs what was built.
      checks = each (pkgs: {
        version = pkgs.runCommand "conmon-version" { } ''
          ${self.packages.${pkgs.system}.default}/bin/conmon --version | tee $out
          grep -q '+rust' $out
        '';
      });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.cargo
            pkgs.rustc
            pkgs.clippy
            pkgs.rustfmt
            pkgs.go-md2man
            pkgs.shellcheck
            pkgs.jq
          ];
        };
      });
    };
}
