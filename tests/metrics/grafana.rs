//! The dashboard in `docs/grafana.json`, held against what is exported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// All queries.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = list(&dashboard["panels"]).iter().flat_map(|panel| list(&panel["targets"]));
    targets.map(|target| text(&target["expr"]).to_owned()).collect()
}

/// The names of ours in a query.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("heavylift_"))
}

#[test]
fn it_is_a_dashboard_as_grafana_imports_it() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(41), "{}", dashboard["schemaVersion"]);
    let variables = list(&dashboard["templating"]["list"]);
    let kinds: Vec<_> = variables.iter().map(|one| (text(&one["name"]), text(&one["type"]))).collect();
    assert_eq!(kinds, [("datasource", "datasource"), ("pool", "query")]);
    let panels = list(&dashboard["panels"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeMap::new();
    for panel in panels {
        let title = text(&panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(place, title);
            assert_eq!(other, None, "{title} lies on another");
        }
        let targets = list(&panel["targets"]);
        assert_eq!(text(&panel["type"]) == "row", targets.is_empty(), "{title}");
        let letters: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(letters.len(), targets.len(), "{title}");
        assert!(
            targets.iter().all(|target| text(&target["datasource"]["uid"]) == "${datasource}"),
            "{title}"
        );
    }
}

#[test]
fn every_query_looks_at_the_chosen_pools() {
    for expression in expressions(&dashboard()) {
        let (asked, chosen) = (names(&expression).count(), expression.matches("pool=~\"$pool\"").count());
        assert!(asked > 0 && asked == chosen, "{expression}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_shows_what_is_exported_all_of_it_and_nothing_else() {
    let _turn = super::TURNS.read().await;
    // The kind that has everything.
    let pool = heavylift::ProcessPool::builder().name("for the dashboard").max_workers(1).build().unwrap();
    assert_eq!(pool.run(|n: u32| n, 3).await.unwrap(), 3);
    let families = super::families();
    let samples = families.iter().flat_map(|family| &family.samples);
    let exported: BTreeSet<&str> = samples.map(|sample| &*sample.name).collect();
    let expressions = expressions(&dashboard());
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|expression| names(expression)).collect();
    let unknown: Vec<_> = shown.difference(&exported).collect();
    assert!(unknown.is_empty(), "not exported: {unknown:?}");
    let is_shown = |name: &str| shown.contains(name) || shown.contains(&*format!("{name}_bucket"));
    let missing: Vec<_> =
        families.iter().filter(|family| !is_shown(&family.name)).map(|family| &family.name).collect();
    assert!(missing.is_empty(), "not shown: {missing:?}");
    assert!(families.len() >= 20, "{}", families.len());
}

/// By Prometheus's own tool, where there is one.
#[test]
fn every_query_is_one_to_prometheus() {
    let rules = expressions(&dashboard()).into_iter().enumerate().map(|(n, expression)| {
        let expression = expression.replace("$__rate_interval", "5m");
        serde_json::json!({ "record": format!("shown:{n}"), "expr": expression })
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups =
        serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules.collect::<Vec<_>>() }] });
    // JSON is YAML.
    fs::write(&file, groups.to_string()).unwrap();
    match Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(file.path()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => super::tell("skipped: no promtool here, the queries were not parsed"),
    }
}
