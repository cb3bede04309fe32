//! Partial lines of a log in the format of the Container Runtime Interface, put together again.

use serde_json::Value;

/// A line of a log: what comes before its tag, its stream, whether it is partial, and its text.
struct Line<'a> {
    time: &'a str,
    stream: &'a str,
    partial: bool,
    text: &'a str,
}

/// Takes a line apart as an observation holds it. Source: Kubernetes, CRI log format: `TIME STREAM P|F TEXT`.
fn parse(line: &str) -> Option<Line<'_>> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ')?;
    let (tag, text) = rest.split_once(' ')?;
    let partial = match tag {
        "P" => true,
        "F" => false,
        _ => return None,
    };
    Some(Line { time, stream, partial, text })
}

/// Puts every partial line in front of the next line of its stream, in whose place it is then.
///
/// Where a monitor's reads end is chance, and with it how a long line is cut; its bytes, its stream and its place among the
/// others are not. What no line follows stays partial, and is one.
pub(super) fn join(lines: &mut Vec<Value>) {
    let mut pending: Vec<(String, String, String)> = Vec::new();
    let mut joined: Vec<Value> = Vec::new();
    for value in lines.drain(..) {
        let Some(line) = value.as_str().and_then(parse) else {
            joined.push(value);
            continue;
        };
        let at = pending.iter().position(|(_, stream, _)| stream == line.stream);
        if line.partial {
            let text = line.text.strip_suffix("\\n").unwrap_or(line.text);
            match at.and_then(|at| pending.get_mut(at)) {
                Some((_, _, so_far)) => so_far.push_str(text),
                None => pending.push((line.time.into(), line.stream.into(), text.into())),
            }
            continue;
        }
        joined.push(match at.map(|at| pending.remove(at)) {
            Some((time, stream, text)) => format!("{time} {stream} F {text}{}", line.text).into(),
            None => value,
        });
    }
    let rest = pending.into_iter().map(|(time, stream, text)| format!("{time} {stream} P {text}"));
    joined.extend(rest.map(Value::from));
    *lines = joined;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn joined(lines: &[&str]) -> Value {
        let mut list: Vec<Value> = lines.iter().map(|line| json!(line)).collect();
        join(&mut list);
        Value::from(list)
    }

    #[test]
    fn however_a_line_was_cut_it_is_the_same() {
        let whole = joined(&[r"[T] stdout F one two\n", r"[T] stderr F x\n"]);
        for cut in [
            vec![r"[T] stdout P one\n", r"[T] stdout F  two\n", r"[T] stderr F x\n"],
            vec![
                r"[T] stdout P o\n",
                r"[T] stdout P ne\n",
                r"[T] stdout F  two\n",
                r"[T] stderr F x\n",
            ],
        ] {
            assert_eq!(joined(&cut), whole);
        }
    }

    #[test]
    fn bytes_streams_order_and_an_unfinished_end_still_count() {
        let whole = joined(&[r"[T] stdout F one two\n", r"[T] stderr F x\n"]);
        for other in [
            vec![r"[T] stdout P one\n", r"[T] stderr F  two\n", r"[T] stderr F x\n"],
            vec![r"[T] stdout P one\n", r"[T] stdout F  tw\n", r"[T] stderr F x\n"],
            vec![r"[T] stderr F x\n", r"[T] stdout P one\n", r"[T] stdout F  two\n"],
            vec![r"[T] stderr F x\n", r"[T] stdout P one two\n"],
            vec![r"[bad] stdout F one two\n", r"[T] stderr F x\n"],
        ] {
            assert_ne!(joined(&other), whole, "{other:?}");
        }
        assert_eq!(
            joined(&[r"[T] stdout P a\n", r"[T] stdout P b\n", "torn"]),
            json!(["torn", "[T] stdout P ab"])
        );
    }
}
