//! The monitor names its commit in `--version`; here there is none to be named.

fn main() {
    println!("cargo::rustc-env=CONMON_GIT_COMMIT=fuzzing");
}
