# Evaluates every expression with stand-ins for nixpkgs: `nix-instantiate --eval --strict nix/check.nix`, see ci/nix.sh.
let
  lib = {
    cleanSourceWith = { src, filter }: { inherit src; keeps = name: filter (toString src + "/" + name) "regular"; };
    licenses.asl20 = "Apache-2.0";
    platforms.linux = [ "x86_64-linux" ];
    genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
  };
  callWith = set: file: more:
    let
      f = import file;
    in
    f (builtins.intersectAttrs (builtins.functionArgs f) set // more);
  packages = static: rec {
    system = "x86_64-linux";
    callPackage = callWith {
      inherit lib;
      go-md2man = "go-md2man";
      rustPlatform.buildRustPackage = arguments: arguments // { inherit static; outPath = "/built"; };
    };
    runCommand = name: environment: script: script;
    mkShell = arguments: arguments;
    cargo = "cargo";
    rustc = "rustc";
    clippy = "clippy";
    rustfmt = "rustfmt";
    go-md2man = "go-md2man";
    shellcheck = "shellcheck";
    jq = "jq";
    pkgsStatic = packages true;
    pkgsCross = lib.genAttrs [ "aarch64-multiplatform" "powernv" "riscv64" "s390x" ] (name: packages false);
  };
  pkgs = packages false;
  statics = map (file: import file { inherit pkgs; commit = "c"; }) [
    ./default.nix
    ./default-arm64.nix
    ./default-ppc64le.nix
    ./default-riscv64.nix
    ./default-s390x.nix
  ];
  flake = (import ../flake.nix).outputs {
    self = flake // { rev = "abc"; };
    nixpkgs = { inherit lib; legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "riscv64-linux" ] (name: pkgs); };
  };
  one = flake.packages.x86_64-linux;
in
assert builtins.all (built: built.static && built.CONMON_GIT_COMMIT == "c") statics;
assert !one.conmon.static && one.static.static && one.conmon.CONMON_GIT_COMMIT == "abc";
assert one.conmon.src.keeps "Cargo.toml" && !(one.conmon.src.keeps "target");
assert builtins.pathExists one.conmon.cargoLock.lockFile;
assert builtins.isString flake.checks.x86_64-linux.version && flake.devShells.x86_64-linux.default.packages != [ ];
"${one.conmon.pname} ${one.conmon.version}"
