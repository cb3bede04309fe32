//! The known divergences: what of a reference and a candidate may differ, and in what way alone.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use regex_lite::Regex;
use semver::VersionReq;
use serde::Deserialize;
use serde_json::Value;

use super::diff::Difference;
use crate::host::traits::Traits;
use crate::scenario::RuntimeKind;
use crate::text::{glob, names};

/// One entry of `fixtures/divergences.toml`.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// Globs over the names of scenarios and of other tables' cases.
    pub scenario: OneOrMany,
    /// What differs, each with both of its values.
    pub fields: Vec<Field>,
    pub reference: VersionReq,
    /// Only for references that do, or do not, keep the mode of a file they replace.
    pub keeps_mode: Option<bool>,
    pub runtime: Option<RuntimeKind>,
    /// Whether what `from` says is right in some of these scenarios, so that the same on both sides tells nothing.
    pub ambiguous: bool,
    pub kind: Kind,
    pub why: String,
    pub doc: String,
}

/// A field that differs, and how.
///
/// `from` is what the reference has there and `to` what the candidate has, `(absent)` where there is nothing. `*` stands for
/// anything and `?` for one character. `{name}` in `from` stands for anything too, and what it stood for must be on the other
/// side where `to` has `{name}`.
#[derive(Debug, Clone)]
pub struct Field {
    /// Globs over the paths of observations.
    pub path: OneOrMany,
    pub to: String,
    /// What `from` says.
    reference: Regex,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenField {
    path: OneOrMany,
    from: String,
    to: String,
}

/// An entry as it is written: with one kind of field, or with several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    scenario: OneOrMany,
    path: Option<OneOrMany>,
    from: Option<String>,
    to: Option<String>,
    fields: Option<Vec<WrittenField>>,
    #[serde(default = "any_version")]
    reference: VersionReq,
    keeps_mode: Option<bool>,
    runtime: Option<RuntimeKind>,
    #[serde(default)]
    ambiguous: bool,
    kind: Kind,
    why: String,
    doc: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// Each pattern.
    pub fn each(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.each().iter().any(|one| fits(one))
    }

    /// The patterns, for showing.
    pub fn joined(&self) -> String {
        self.each().join(", ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The reference does something wrong.
    Defect,
    /// The reference is of another version.
    Version,
    /// Ours does more, on purpose.
    Improvement,
    /// Nothing better can be had of ours in a case that is judged without a reference.
    Limit,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    divergence: Vec<Written>,
}

fn any_version() -> VersionReq {
    VersionReq::STAR
}

/// Reads the known divergences.
///
/// # Errors
///
/// The file, and where in it.
pub fn load(path: &Path) -> Result<Vec<Divergence>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

/// Reads known divergences from the text of a file.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Divergence>> {
    let file: File = toml::from_str(text)?;
    file.divergence.into_iter().map(Divergence::checked).collect()
}

impl Divergence {
    fn checked(written: Written) -> Result<Self> {
        let Written { scenario, path, from, to, fields, .. } = written;
        let about = format!("the entry of {}", scenario.joined());
        let fields = match (path, from, to, fields) {
            (Some(path), Some(from), Some(to), None) => vec![WrittenField { path, from, to }],
            (None, None, None, Some(fields)) if !fields.is_empty() => fields,
            _ => bail!("{about} needs `path`, `from` and `to`, or a list of `fields` with these"),
        };
        let fields = fields.into_iter().map(WrittenField::checked);
        let fields = fields.collect::<Result<Vec<Field>>>().with_context(|| about.clone())?;
        Ok(Self {
            scenario,
            fields,
            reference: written.reference,
            keeps_mode: written.keeps_mode,
            runtime: written.runtime,
            ambiguous: written.ambiguous,
            kind: written.kind,
            why: written.why,
            doc: written.doc,
        })
    }

    /// Whether the entry speaks about this case with this runtime where it is compared with this reference.
    pub fn concerns(&self, case: &str, runtime: Option<RuntimeKind>, reference: &Traits) -> bool {
        self.kind != Kind::Limit
            && self.names(case, runtime)
            && self.reference.matches(&reference.level)
            && self.keeps_mode.is_none_or(|keeps| keeps == reference.keeps_mode)
    }

    /// Whether the entry speaks about this case, whatever the reference.
    pub fn names(&self, case: &str, runtime: Option<RuntimeKind>) -> bool {
        self.scenario.any(|pattern| glob(pattern, case, '/'))
            && self.runtime.is_none_or(|only| runtime == Some(only))
    }

    /// Whether the entry speaks about this field.
    pub fn is_about(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.is_about(path))
    }

    /// Whether the entry explains the difference.
    pub fn covers(&self, difference: &Difference) -> bool {
        let mut about =
            self.fields.iter().filter(|field| field.is_about(&difference.path)).peekable();
        if about.peek().is_none() {
            return false;
        }
        let (from, to) =
            (as_text(difference.reference.as_ref()), as_text(difference.candidate.as_ref()));
        about.any(|field| field.fits(&from, &to))
    }

    /// What a candidate should have at a field where it has what the reference has, if the entry says so.
    pub fn missing(&self, path: &str, both: Option<&Value>) -> Option<&str> {
        if self.ambiguous {
            return None;
        }
        let mut about = self.fields.iter().filter(|field| field.is_about(path)).peekable();
        about.peek()?;
        let text = as_text(both);
        let field = about.find(|field| field.fits_reference(&text) && !field.fits(&text, &text))?;
        Some(&field.to)
    }

    /// The paths that are no patterns.
    pub fn exact_paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.fields.iter().flat_map(|field| field.path.each());
        paths.map(String::as_str).filter(|path| !path.contains(['*', '?']))
    }

    /// The patterns of all fields, for showing.
    pub fn paths(&self) -> String {
        self.fields.iter().map(|field| field.path.joined()).collect::<Vec<_>>().join(", ")
    }
}

/// A value as `from` and `to` are written.
fn as_text(value: Option<&Value>) -> String {
    match value {
        None => "(absent)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

impl WrittenField {
    fn checked(self) -> Result<Field> {
        let Self { path, from, to } = self;
        ensure!(from != to || from.contains(['*', '?']), "both sides are equal");
        let reference = Regex::new(&pattern(&from));
        let reference = reference.with_context(|| format!("a name stands twice in `{from}`"))?;
        let known: Vec<&str> = reference.capture_names().flatten().collect();
        for name in captures(&to) {
            ensure!(known.contains(&name), "`to` has {{{name}}}, which `from` has not");
        }
        Ok(Field { path, to, reference })
    }
}

impl Field {
    fn is_about(&self, path: &str) -> bool {
        self.path.any(|pattern| names(pattern, path))
    }

    fn fits_reference(&self, reference: &str) -> bool {
        self.reference.is_match(reference)
    }

    fn fits(&self, reference: &str, candidate: &str) -> bool {
        let Some(found) = self.reference.captures(reference) else { return false };
        let mut to = pattern(&self.to);
        for name in captures(&self.to) {
            let value = found.name(name).map_or("", |found| found.as_str());
            to = to.replacen(&capture(name), &regex_lite::escape(value), 1);
        }
        Regex::new(&to).is_ok_and(|to| to.is_match(candidate))
    }
}

/// The names in braces, in order.
fn captures(text: &str) -> Vec<&str> {
    pieces(text)
        .into_iter()
        .filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}

fn capture(name: &str) -> String {
    format!("(?P<{name}>.*?)")
}

/// A pattern as a regular expression over a whole text.
fn pattern(text: &str) -> String {
    let mut regex = String::from("(?s)^");
    for piece in pieces(text) {
        match piece {
            "*" => regex.push_str(".*?"),
            "?" => regex.push('.'),
            named if named.len() > 2 && named.starts_with('{') => {
                regex.push_str(&capture(&named[1..named.len() - 1]));
            }
            literal => regex.push_str(&regex_lite::escape(literal)),
        }
    }
    regex.push('$');
    regex
}

/// Takes a pattern apart: `*`, `?`, `{name}`, and what is between them, character by character.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = named(rest).unwrap_or(first.len_utf8());
        let (piece, more) = rest.split_at(length);
        found.push(piece);
        rest = more;
    }
    found
}

/// How long the `{name}` is with which a text begins, if it does.
fn named(text: &str) -> Option<usize> {
    let name = text.strip_prefix('{')?.split_once('}')?.0;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    is_name.then_some(name.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(fields: &str) -> Result<Divergence> {
        let text =
            format!("[[divergence]]\nscenario='a/b'\nkind='defect'\nwhy='w'\ndoc='d'\n{fields}\n");
        parse(&text).map(|mut entries| entries.remove(0))
    }

    fn covers(from: &str, to: &str, reference: &Value, candidate: &Value) -> bool {
        let entry = entry(&format!("path='p'\nfrom='''{from}'''\nto='''{to}'''")).unwrap();
        let sides = [reference, candidate].map(|side| Some(side.clone()).filter(|v| !v.is_null()));
        let [reference, candidate] = sides;
        entry.covers(&Difference { path: "p".into(), reference, candidate })
    }

    #[test]
    fn what_a_capture_stood_for_is_on_both_sides() {
        let covers = |reference, candidate| {
            covers("[conmon:e] {x}", "[conmon:e]: {x}", &json!(reference), &json!(candidate))
        };
        assert!(covers("[conmon:e] No space left (1)", "[conmon:e]: No space left (1)"));
        assert!(!covers("[conmon:e] No space left", "[conmon:e]: No space"));
        assert!(!covers("[conmon:e] No space left", "[conmon:e] No space left"));
        assert!(!covers("[conmon:w] No space left", "[conmon:e]: No space left"));
    }

    #[test]
    fn stars_question_marks_and_nothing() {
        assert!(!covers("a*c?", "(absent)", &json!("abbc\nd"), &Value::Null));
        assert!(covers("a*c?", "(absent)", &json!("ab\nbcd"), &Value::Null));
        assert!(covers("(absent)", "[1,{\"k\":\"*\"}]", &Value::Null, &json!([1, {"k": "v"}])));
        assert!(!covers("(absent)", "[]", &json!("there"), &json!([])));
        assert!(!covers("a.c", "x", &json!("abc"), &json!("x")));
        assert!(covers("{a} and {b}", "{b}, {a}", &json!("x and y"), &json!("y, x")));
        // A name may stand for nothing; what is no name in small letters is itself.
        assert!(covers("a{x}", "b{x}", &json!("a"), &json!("b")));
        assert!(covers("{x1}", "{X}", &json!("{x1}"), &json!("{X}")));
        assert!(!covers("{x1}", "{X}", &json!("y"), &json!("{X}")));
    }

    #[test]
    fn both_sides_are_asked_for() {
        for (fields, expected) in [
            ("path='p'\nfrom='a'", "needs `path`, `from` and `to`"),
            ("path='p'\nto='a'", "needs `path`, `from` and `to`"),
            ("fields=[]", "needs `path`, `from` and `to`"),
            ("path='p'\nfrom='a'\nto='b'\nfields=[{path='q',from='a',to='b'}]", "needs `path`"),
            ("fields=[{path='q',from='a'}]", "missing field `to`"),
            ("path='p'\nfrom='a'\nto='a'", "both sides are equal"),
            ("path='p'\nfrom='{x}'\nto='{y}'", "`to` has {y}, which `from` has not"),
            ("path='p'\nfrom='{x}{x}'\nto='a'", "a name stands twice"),
        ] {
            let error = format!("{:#}", entry(fields).unwrap_err());
            assert!(error.contains(expected), "{fields}: {error}");
        }
        assert_eq!(entry("fields=[{path=['q','r'],from='a',to='b'}]").unwrap().paths(), "q, r");
    }

    #[test]
    fn a_candidate_that_went_back_misses_something() {
        let entry = entry("path=['logs.**.mode']\nfrom='06{x}0 *'\nto='0640 *'").unwrap();
        let missing = |path, text: &str| entry.missing(path, Some(&json!(text)));
        assert_eq!(missing("logs.ctr.log.mode", "0600 root"), Some("0640 *"));
        assert_eq!(missing("logs.ctr.log.mode", "0640 root"), None);
        assert_eq!(missing("logs.ctr.log.mode", "0755 root"), None);
        assert_eq!(missing("logs.ctr.log.size", "0600 root"), None);
        let ambiguous = parse(
            "[[divergence]]\nscenario='a'\nkind='defect'\nwhy='w'\ndoc='d'\npath='p'\nfrom='a'\nto='b'\nambiguous=true\n",
        );
        assert_eq!(ambiguous.unwrap()[0].missing("p", Some(&json!("a"))), None);
    }

    #[test]
    fn a_path_with_a_star_or_a_question_mark_is_a_pattern() {
        let entry = entry("path=['a.b','a.*','a.?','c']\nfrom='x'\nto='y'").unwrap();
        assert_eq!(entry.exact_paths().collect::<Vec<_>>(), ["a.b", "c"]);
    }
}
