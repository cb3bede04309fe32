//! Two observations, field by field.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// One field that differs. A side that lacks it has none.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    pub path: String,
    pub reference: Option<Value>,
    pub candidate: Option<Value>,
}

/// Lists what differs, in the order of the fields.
///
/// A list of texts is one field, because a line more or less shifts all that follow; any other
/// list is compared item by item when both are equally long.
pub fn compare(reference: &Value, candidate: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", Some(reference), Some(candidate), &mut found);
    found
}

fn walk(
    path: &str,
    reference: Option<&Value>,
    candidate: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    let join = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (reference, candidate) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                walk(&join(key), Some(value), b.get(key), found);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                walk(&join(key), None, Some(value), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b)))
            if a.len() == b.len() && !is_text(a) && !is_text(b) =>
        {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&join(&index.to_string()), Some(a), Some(b), found);
            }
        }
        _ => found.push(Difference {
            path: path.to_string(),
            reference: reference.cloned(),
            candidate: candidate.cloned(),
        }),
    }
}

/// Tells every field that is the same on both sides, by the paths that [`compare`] would give them.
pub fn same(path: &str, a: &Value, b: &Value, tell: &mut dyn FnMut(&str, &Value)) {
    let join = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, a) in a {
                if let Some(b) = b.get(key) {
                    same(&join(key), a, b, tell);
                }
            }
        }
        (Value::Array(list), Value::Array(other))
            if list.len() == other.len() && !is_text(list) && !is_text(other) =>
        {
            for (index, (a, b)) in list.iter().zip(other).enumerate() {
                same(&join(&index.to_string()), a, b, tell);
            }
        }
        _ if a == b => tell(path, a),
        _ => {}
    }
}

fn is_text(list: &[Value]) -> bool {
    list.iter().all(Value::is_string)
}

/// Finds a field by its path; keys may contain dots themselves.
pub fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(key, inner)| {
            let rest = path.strip_prefix(key.as_str())?;
            match rest.strip_prefix('.') {
                Some(rest) => lookup(inner, rest),
                None if rest.is_empty() => Some(inner),
                None => None,
            }
        }),
        Value::Array(list) => {
            let (index, rest) = path.split_once('.').unwrap_or((path, ""));
            let index = match index.strip_prefix('-') {
                Some(back) => list.len().checked_sub(back.parse().ok()?)?,
                None => index.parse().ok()?,
            };
            lookup(list.get(index)?, rest)
        }
        _ => None,
    }
}

/// Takes away every field that is not to be kept; `keep` hears whether it is a leaf.
pub fn remove(value: &mut Value, keep: &dyn Fn(&str, bool) -> bool) {
    prune("", value, keep);
}

fn prune(path: &str, value: &mut Value, keep: &dyn Fn(&str, bool) -> bool) {
    if let Value::Object(map) = value {
        let join =
            |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        map.retain(|key, inner| keep(&join(key), is_leaf(inner)));
        for (key, inner) in map.iter_mut() {
            prune(&join(key), inner, keep);
        }
    } else if let Value::Array(list) = value {
        for (index, inner) in list.iter_mut().enumerate() {
            prune(&format!("{path}.{index}"), inner, keep);
        }
    }
}

/// Whether nothing in it has a path of its own that could be kept or taken away.
fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(list) => is_text(list),
        _ => true,
    }
}

/// One line of a shown difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub tag: Tag,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Same,
    Reference,
    Candidate,
    Gap,
}

/// The lines of a difference with three lines of context.
pub fn show(difference: &Difference) -> Vec<Shown> {
    let before = lines(difference.reference.as_ref());
    let after = lines(difference.candidate.as_ref());
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.iter().map(String::as_str).collect(), after.iter().map(String::as_str).collect());
    let diff = TextDiff::from_slices(&before, &after);
    let mut shown = Vec::new();
    for (index, group) in diff.grouped_ops(3).iter().enumerate() {
        if index > 0 {
            shown.push(Shown { tag: Tag::Gap, text: "...".into() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let tag = match change.tag() {
                ChangeTag::Equal => Tag::Same,
                ChangeTag::Delete => Tag::Reference,
                ChangeTag::Insert => Tag::Candidate,
            };
            shown.push(Shown { tag, text: change.value().to_string() });
        }
    }
    shown
}

/// A field as lines of text.
pub fn lines(value: Option<&Value>) -> Vec<String> {
    match value {
        None => vec!["(absent)".into()],
        Some(Value::String(text)) => {
            let mut lines: Vec<String> = Vec::new();
            let mut rest = text.as_str();
            while let Some(at) = rest.find("\\n") {
                lines.push(rest[..at + 2].to_string());
                rest = &rest[at + 2..];
            }
            if !rest.is_empty() || lines.is_empty() {
                lines.push(if rest.is_empty() { "(empty)".into() } else { rest.to_string() });
            }
            lines
        }
        Some(Value::Array(list)) if list.is_empty() => vec!["(none)".into()],
        Some(Value::Array(list)) if is_text(list) => {
            list.iter().filter_map(Value::as_str).map(str::to_string).collect()
        }
        Some(other) => serde_json::to_string_pretty(other)
            .unwrap_or_default()
            .lines()
            .map(str::to_string)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_field_that_differs() {
        let a = json!({"m": {"x": 1, "y": ["a", "b"]}, "only": true});
        let b = json!({"m": {"x": 2, "y": ["a", "c", "b"]}});
        let paths: Vec<_> = compare(&a, &b).into_iter().map(|d| d.path).collect();
        assert_eq!(paths, ["m.x", "m.y", "only"]);
        assert!(compare(&a, &a).is_empty());
    }

    #[test]
    fn tells_what_is_the_same() {
        let a = json!({"m": {"x": 1, "y": ["a", "b"]}, "only": true, "l": [{"k": 1}, {"k": 2}]});
        let b = json!({"m": {"x": 2, "y": ["a", "b"]}, "l": [{"k": 1}, {"k": 3}]});
        let mut told = Vec::new();
        same("", &a, &b, &mut |path, value| told.push((path.to_owned(), value.clone())));
        assert_eq!(told, [("m.y".into(), json!(["a", "b"])), ("l.0.k".into(), json!(1))]);
    }

    #[test]
    fn shows_both_sides_of_a_list_with_context() {
        let difference = Difference {
            path: "m.y".into(),
            reference: Some(json!(["a", "b"])),
            candidate: Some(json!(["a", "c", "b"])),
        };
        let tags: Vec<_> = show(&difference).into_iter().map(|s| s.tag).collect();
        assert_eq!(tags, [Tag::Same, Tag::Candidate, Tag::Same]);
    }

    #[test]
    fn finds_keys_with_dots_and_counts_from_the_end() {
        let value = json!({"logs": {"main.1": {"lines": ["a", "b"]}}});
        assert_eq!(lookup(&value, "logs.main.1.lines.-1"), Some(&json!("b")));
        assert_eq!(lookup(&value, "logs.main.2"), None);
    }

    #[test]
    fn what_only_one_side_has_is_a_difference_whichever_it_is() {
        let a = json!({"x": 1, "y": 2, "l": [{"k": 1}]});
        let b = json!({"x": 1, "z": 2, "l": [{"k": 1}, {"k": 2}]});
        let found = compare(&a, &b);
        let told: Vec<_> = found
            .iter()
            .map(|d| (d.path.as_str(), d.reference.is_some(), d.candidate.is_some()))
            .collect();
        assert_eq!(told, [("y", true, false), ("l", true, true), ("z", false, true)]);
        assert_eq!(compare(&b, &a).len(), 3);
        // A list of texts is one field, also where the other side's is none.
        let found = compare(&json!({"l": ["a"]}), &json!({"l": [1]}));
        assert_eq!(found.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["l"]);
        let mut told = Vec::new();
        same("", &json!({"l": ["a", "b"]}), &json!({"l": ["a", 1]}), &mut |path, _| {
            told.push(path.to_owned())
        });
        same("", &json!({"l": [1, "b"]}), &json!({"l": ["a", "b"]}), &mut |path, _| {
            told.push(path.to_owned())
        });
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_path_to_nothing_finds_nothing() {
        let value = json!({"log": ["a", "b"], "logs": {"x": 1}});
        for path in ["lo", "logsx", "log.2", "log.-3", "log.-", "log.x", "logs.x.y", "log.0.y"] {
            assert_eq!(lookup(&value, path), None, "{path}");
        }
        assert_eq!(lookup(&value, "log.-2"), Some(&json!("a")));
    }

    #[test]
    fn what_is_kept_is_asked_of_leaves() {
        let mut value = json!({"m": {"x": 1, "y": ["a"]}, "l": [{"k": 1, "drop": 2}]});
        let asked = std::cell::RefCell::new(Vec::new());
        remove(&mut value, &|path, leaf| {
            asked.borrow_mut().push(format!("{path} {leaf}"));
            !path.ends_with("drop")
        });
        assert_eq!(value, json!({"m": {"x": 1, "y": ["a"]}, "l": [{"k": 1}]}));
        let asked = asked.into_inner();
        for expected in ["m false", "m.x true", "m.y true", "l false", "l.0.k true"] {
            assert!(asked.iter().any(|found| found == expected), "{expected}: {asked:?}");
        }
    }
}
