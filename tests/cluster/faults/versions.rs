//! Nodes of another build: they have the name, with other types.

use std::{env, time::Duration};

use heavylift::{Shutdown, TaskErrorKind, gather};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scene::{Scene, Serving, at_each};

/// Set in a program that is to be of an older build.
const OLDER: &str = "HEAVYLIFT_FAULTS_OLDER";

/// A record that has another field since the last build: what it looks like to serde depends on which build this program is to be of.
#[derive(Debug, Clone)]
struct Survey {
    depth: u32,
    unit: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Survey")]
struct Older {
    depth: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Survey")]
struct Newer {
    depth: u32,
    unit: String,
}

fn is_older() -> bool {
    env::var_os(OLDER).is_some()
}

impl Serialize for Survey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth;
        match is_older() {
            true => Older { depth }.serialize(serializer),
            false => Newer { depth, unit: self.unit.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Survey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if is_older() {
            let Older { depth } = Older::deserialize(deserializer)?;
            return Ok(Self { depth, unit: "fathom".to_owned() });
        }
        Newer::deserialize(deserializer).map(|Newer { depth, unit }| Self { depth, unit })
    }
}

#[heavylift::job(name = "faults::survey")]
fn survey(survey: Survey) -> String {
    format!("{} {} by {}", survey.depth, survey.unit, env::var(super::jobs::NAME).unwrap_or_default())
}

/// Takes its time.
#[heavylift::job(name = "faults::slow_survey")]
fn slow_survey(survey: Survey) -> u32 {
    std::thread::sleep(Duration::from_millis(700));
    survey.depth
}

fn argument(depth: u32) -> Survey {
    Survey { depth, unit: "m".to_owned() }
}

async fn older(scene: &Scene<'_>, slots: usize) -> Serving {
    scene.role("older", slots).start_with(scene.dir.path(), &[(OLDER, "1")]).await
}

#[test]
fn a_node_of_an_older_build_refuses_and_says_what_it_has() {
    let limit = Duration::from_secs(1);
    let test = "a_node_of_an_older_build_refuses_and_says_what_it_has";
    at_each(test, async |scene| {
        let pool = scene.pool().refusal_timeout(limit).connect().await.unwrap();
        let mut node = older(scene, 1).await;
        let begun = std::time::Instant::now();
        let error = pool.run(survey, argument(1)).await.unwrap_err();
        let took = begun.elapsed();
        assert!(took >= limit && took < limit * 3, "{took:?}");
        assert_eq!(error.kind(), TaskErrorKind::Unavailable, "{error}");
        let text = error.to_string();
        eprintln!("{test}: {text}");
        assert!(text.contains("faults::survey") && text.contains("refusal_timeout"), "{text}");
        let words = text.split(|c: char| !c.is_ascii_hexdigit());
        let fingerprints: std::collections::HashSet<_> = words.filter(|word| word.len() == 16).collect();
        assert_eq!(fingerprints.len(), 2, "both are named: {text}");
        // And it serves what it has.
        assert_eq!(pool.run(crate::jobs::echo, vec![7]).await.unwrap(), [7]);
        let admin = scene.admin().await;
        admin.until("the queue is empty", async |admin| admin.jobs().await == 0).await;
        assert!(node.ends_well());
    });
}

#[test]
fn in_a_mixed_fleet_jobs_find_the_nodes_that_have_them() {
    let test = "in_a_mixed_fleet_jobs_find_the_nodes_that_have_them";
    at_each(test, async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let mut old = older(scene, 4).await;
        let mut new = scene.program("newer", 1).await;
        let begun = std::time::Instant::now();
        let all = gather((0..100).map(|depth| pool.run(survey, argument(depth)))).await.unwrap();
        eprintln!("{test}: 100 jobs took {:?}", begun.elapsed());
        for (depth, said) in all.iter().enumerate() {
            assert_eq!(*said, format!("{depth} m by newer"));
        }
        assert!(old.ends_well() && new.ends_well());
    });
}

/// As in an upgrade: the first node that has it comes while jobs are being refused.
#[test]
fn a_node_that_comes_within_the_refusal_timeout_is_in_time() {
    at_each("a_node_that_comes_within_the_refusal_timeout_is_in_time", async |scene| {
        let pool = scene.pool().connect().await.unwrap();
        let mut old = older(scene, 1).await;
        let tasks: Vec<_> = (0..10).map(|depth| pool.run(survey, argument(depth))).collect();
        let node = scene.node(1).start().await.unwrap();
        assert_eq!(gather(tasks).await.unwrap().len(), 10);
        assert!(node.shutdown(Shutdown::Drain).await.metrics.answered == 10);
        assert!(old.ends_well());
    });
}

#[test]
fn jobs_that_were_refused_wait_for_the_node_that_has_them_while_it_is_busy() {
    let test = "jobs_that_were_refused_wait_for_the_node_that_has_them_while_it_is_busy";
    at_each(test, async |scene| {
        let limit = Duration::from_secs(1);
        let pool = scene.pool().refusal_timeout(limit).connect().await.unwrap();
        let mut old = older(scene, 4).await;
        let mut new = scene.program("newer", 1).await;
        // Some of them begin long after that limit.
        let all = gather((0..5).map(|depth| pool.run(slow_survey, argument(depth)))).await.unwrap();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert!(old.ends_well() && new.ends_well());
    });
}
