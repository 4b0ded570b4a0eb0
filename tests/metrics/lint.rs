//! The text format of Prometheus, read strictly, and what `promtool check metrics` finds fault with.
//!
//! Format: <https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md>. Rules: `promlint` of
//! <https://github.com/prometheus/client_golang>.

use std::collections::{BTreeMap, BTreeSet};

/// All samples of one name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) sort: String,
    pub(crate) help: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Reads the text.
///
/// # Errors
///
/// The line that is not as the format says, and why.
pub(crate) fn parse(text: &str) -> Result<Vec<Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut series = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# ") {
            let (what, rest) = rest.split_once(' ').ok_or(line)?;
            let (name, text) = rest.split_once(' ').ok_or(line)?;
            if families.last().is_none_or(|family| family.name != name) {
                if families.iter().any(|family| family.name == name) {
                    return wrong("the lines of a name are not together");
                }
                families.push(Family { name: name.to_owned(), ..Family::default() });
            }
            let family = families.last_mut().ok_or(line)?;
            match what {
                _ if !family.samples.is_empty() => return wrong("it comes after samples"),
                "HELP" if family.help.is_some() => return wrong("a second text"),
                "HELP" => family.help = Some(unescape(text, &['\\', 'n']).ok_or(line)?),
                "TYPE" if !family.sort.is_empty() => return wrong("a second type"),
                "TYPE" => family.sort = text.to_owned(),
                _ => return wrong("neither text nor type"),
            }
            continue;
        }
        let sample = parse_sample(line).ok_or_else(|| format!("no sample: {line}"))?;
        let Some(family) = families.last_mut().filter(|family| family.takes(&sample.name)) else {
            return wrong("a sample outside of its family");
        };
        if !series.insert((sample.name.clone(), sample.labels.clone())) {
            return wrong("a second sample of one series");
        }
        family.samples.push(sample);
    }
    families.iter().try_for_each(check_values)?;
    Ok(families)
}

impl Family {
    fn takes(&self, name: &str) -> bool {
        let suffix = name.strip_prefix(&*self.name);
        match &*self.sort {
            "counter" | "gauge" => suffix == Some(""),
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            "summary" => matches!(suffix, Some("" | "_sum" | "_count")),
            _ => false,
        }
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, value) = rest.split_once("=\"")?;
            let is_name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let end = end_of_string(value)?;
            let value = (unescape(&value[..end], &['\\', 'n', '"'])?, &value[end + 1..]);
            if labels.insert(key.to_owned(), value.0).is_some() {
                return None;
            }
            rest = value.1;
            match rest.split_at_checked(1)? {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        _ if value.contains(|c: char| c.is_alphabetic() && c != 'e') => return None,
        _ => value.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Where a string ends that a quotation mark ends.
fn end_of_string(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return Some(at),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

fn unescape(text: &str, known: &[char]) -> Option<String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().filter(|c| known.contains(c))? {
                'n' => plain.push('\n'),
                c => plain.push(c),
            },
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// Counters are not negative; the buckets of a histogram add up.
fn check_values(family: &Family) -> Result<(), String> {
    let name = &family.name;
    if family.samples.is_empty() {
        return Err(format!("{name} has no sample"));
    }
    if family.sort == "counter" && family.samples.iter().any(|sample| sample.value < 0.0) {
        return Err(format!("{name} is negative"));
    }
    if family.sort != "histogram" {
        return Ok(());
    }
    let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        if sample.name.ends_with("_bucket") {
            let bound = bound.and_then(|bound| bound.replace("+Inf", "inf").parse().ok());
            let bound: f64 = bound.ok_or_else(|| format!("{name} has a bucket without a bound"))?;
            buckets.entry(labels).or_default().push((bound, sample.value));
        } else if sample.name.ends_with("_count") {
            counts.insert(labels, sample.value);
        }
    }
    for (labels, buckets) in buckets {
        let grows = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        let last = buckets.last().filter(|(bound, _)| bound.is_infinite());
        if !grows || last.is_none() || last.map(|last| last.1) != counts.get(&labels).copied() {
            return Err(format!("the buckets of {name} do not add up: {labels:?} {buckets:?}"));
        }
    }
    Ok(())
}

/// What `promlint` says about the families.
pub(crate) fn lint(families: &[Family]) -> Vec<String> {
    let mut problems = Vec::new();
    for family in families {
        for (is_wrong, why) in rules(family) {
            if is_wrong {
                problems.push(format!("{} {why}", family.name));
            }
        }
    }
    problems
}

fn rules(family: &Family) -> Vec<(bool, &'static str)> {
    let name = &*family.name;
    let words: Vec<&str> = name.split('_').collect();
    let is = |sort: &str| family.sort == sort;
    let has_label = |label: &str| family.samples.iter().any(|sample| sample.labels.contains_key(label));
    let spread = is("histogram") || is("summary");
    vec![
        (family.help.as_deref().is_none_or(str::is_empty), "no help text"),
        (words.iter().any(|word| is_derived_unit(word)), "use the base unit"),
        (is("counter") && !name.ends_with("_total"), "counter metrics should have \"_total\" suffix"),
        (!is("counter") && name.ends_with("_total"), "non-counter metrics should not have \"_total\" suffix"),
        (name.ends_with("_bucket"), "non-histogram metrics should not have \"_bucket\" suffix"),
        (
            name.ends_with("_count") || name.ends_with("_sum"),
            "non-histogram and non-summary metrics should not have this suffix",
        ),
        (!is("histogram") && has_label("le"), "non-histogram metrics should not have \"le\" label"),
        (!is("summary") && has_label("quantile"), "non-summary metrics should not have \"quantile\" label"),
        (spread && words.contains(&"total"), "a distribution is no total"),
        (
            ["counter", "gauge", "histogram", "summary"].iter().any(|sort| words.contains(sort)),
            "metric name should not include type",
        ),
        (name.contains(':'), "metric names should not contain ':'"),
        (name.chars().any(|c| c.is_uppercase()), "metric names should be written in 'snake_case'"),
        (
            ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"]
                .iter()
                .any(|unit| words.contains(unit)),
            "metric names should not contain abbreviated units",
        ),
    ]
}

fn is_derived_unit(word: &str) -> bool {
    const BASE: [&str; 10] =
        ["amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "moles", "seconds", "volts"];
    const PREFIXES: [&str; 18] = [
        "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mebi",
        "giga", "gibi", "tera", "tebi", "peta", "pebi",
    ];
    const OTHERS: [&str; 9] =
        ["minutes", "hours", "days", "weeks", "bits", "fahrenheit", "inches", "miles", "percent"];
    let derived = PREFIXES.iter().any(|prefix| {
        word.strip_prefix(prefix)
            .is_some_and(|rest| BASE.iter().any(|base| rest == *base || rest == &base[..base.len() - 1]))
    });
    derived || OTHERS.contains(&word)
}

#[test]
fn what_promtool_finds_is_found() {
    let good = "# HELP a_total A text with a \\\\ and a \\n.\n# TYPE a_total counter\na_total{b=\"\\\"\\\\\\n\"} 1\n";
    let families = parse(good).unwrap();
    assert_eq!((lint(&families), &*families[0].samples[0].labels["b"]), (vec![], "\"\\\n"));
    let histogram = "# HELP a_seconds A.\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"1\"} 1\na_seconds_bucket{le=\"+Inf\"} 2\na_seconds_sum 3\na_seconds_count 2\n";
    assert_eq!(lint(&parse(histogram).unwrap()), [""; 0]);
    for wrong in [
        "a 1",
        "a 1\n",
        "# TYPE a counter\na{b=\"\\x\"} 1\n",
        "# TYPE a counter\na{b=\"c} 1\n",
        "# TYPE a counter\na{b=\"c\",b=\"d\"} 1\n",
        "# TYPE a counter\na 1\na 1\n",
        "# TYPE a counter\na one\n",
        "# TYPE a counter\na -1\n",
        "# TYPE a counter\nb 1\n",
        "# TYPE a counter\n# TYPE a counter\na 1\n",
        "# TYPE a counter\na 1\n# TYPE b counter\nb 1\n# TYPE a counter\n",
        "# TYPE a gauge\n# TYPE b counter\nb 1\n",
        &histogram.replace("count 2", "count 3"),
        &histogram.replace("le=\"1\"} 1", "le=\"1\"} 9"),
        &histogram.replace("+Inf", "2"),
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    for (name, sort, problems) in [
        ("a", "counter", 1),
        ("a_total", "gauge", 1),
        ("a_milliseconds", "gauge", 1),
        ("a_ms", "gauge", 1),
        ("aB", "gauge", 1),
        ("a_gauge", "gauge", 1),
        ("a:b", "gauge", 1),
        ("a_count", "gauge", 1),
        ("a_bucket", "counter", 2),
        ("a_kilobytes_total", "counter", 1),
    ] {
        let text = format!("# HELP {name} A.\n# TYPE {name} {sort}\n{name} 1\n");
        assert_eq!(lint(&parse(&text).unwrap()).len(), problems, "{name}");
        let text = format!("# TYPE {name} {sort}\n{name} 1\n");
        assert_eq!(lint(&parse(&text).unwrap()).len(), problems + 1, "{name}");
    }
}
