//! The bytes of a golden file.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// How a file of xz begins. Source: the .xz file format, section 2.1.1.1.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// The text of a file, decompressed if it is.
///
/// # Errors
///
/// It cannot be read; it is damaged; there is no xz.
pub fn read(path: &Path) -> Result<String> {
    let mut bytes = std::fs::read(path)?;
    if bytes.starts_with(XZ) {
        bytes = xz("-dc", &bytes).context("damaged, or there is no xz")?;
    }
    String::from_utf8(bytes).ok().context("damaged: it is no text")
}

/// Writes a text, compressed if the name ends in `.xz`.
///
/// # Errors
///
/// It cannot be written; there is no xz.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let compressed = path.extension().is_some_and(|extension| extension == "xz");
    let bytes = if compressed { xz("-9ec", text.as_bytes())? } else { text.as_bytes().to_vec() };
    Ok(std::fs::write(path, bytes)?)
}

fn xz(options: &str, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("xz")
        .arg(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run xz")?;
    let mut stdin = child.stdin.take().context("xz has no input")?;
    let output: Output = std::thread::scope(|scope| {
        // What it does not take it complains of itself.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "));
    }
    Ok(output.stdout)
}

/// 64 bits in hexadecimal digits, to notice accidents.
pub fn checksum(text: &str) -> String {
    crate::text::fnv(text.as_bytes())
}
