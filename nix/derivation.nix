# The monitor, for `callPackage`. Static when the platform is: default.nix takes nixpkgs' static musl platforms.
{
  lib,
  rustPlatform,
  go-md2man,
  commit ? null,
}:
let
  manifest = builtins.fromTOML (builtins.readFile ../Cargo.toml);
in
rustPlatform.buildRustPackage {
  pname = "conmon";
  version = manifest.workspace.package.version;

  src = lib.cleanSourceWith {
    src = ../.;
    filter =
      path: type:
      !(builtins.elem (baseNameOf path) [
        ".git"
        "target"
        "vendor"
        "result"
      ]);
  };
  cargoLock.lockFile = ../Cargo.lock;

  nativeBuildInputs = [ go-md2man ];

  cargoBuildFlags = [
    "-p"
    "conmon"
  ];
  # The suite's tests need root and containers.
  cargoTestFlags = [
    "-p"
    "conmon"
    "--bins"
  ];

  # The checkout's history is not part of the source; who has it says the commit.
  CONMON_GIT_COMMIT = if commit == null then "" else commit;

  postBuild = ''
    make docs
  '';
  postInstall = ''
    install -D -m 644 docs/conmon.8 $out/share/man/man8/conmon.8
  '';

  meta = {
    description = "OCI container monitor, a drop-in replacement for conmon";
    homepage = "https://example.org/conmon";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "conmon";
  };
}
