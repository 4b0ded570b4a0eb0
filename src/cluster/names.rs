//! [`Names`]: what streams, consumers, subjects and buckets are called under a prefix.

/// All names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    upper: String,
}

impl Names {
    /// The prefix has been checked: `[A-Za-z0-9_-]+`, not longer than 32.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), upper: prefix.to_uppercase().replace('-', "_") }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn tasks_stream(&self) -> String {
        format!("{}_TASKS", self.upper)
    }

    pub(super) fn results_stream(&self) -> String {
        format!("{}_RESULTS", self.upper)
    }

    pub(super) fn dead_letters_stream(&self) -> String {
        format!("{}_DLQ", self.upper)
    }

    pub(super) fn advisories_stream(&self) -> String {
        format!("{}_ADV", self.upper)
    }

    pub(super) fn payloads_bucket(&self) -> String {
        format!("{}_payloads", self.prefix)
    }

    /// All tasks of all queues.
    pub(super) fn tasks(&self) -> String {
        format!("{}.task.>", self.prefix)
    }

    /// All tasks of a queue.
    pub(super) fn tasks_of(&self, queue: &str) -> String {
        format!("{}.task.{queue}.>", self.prefix)
    }

    /// One task: the job's name is there for who looks at the servers.
    pub(super) fn task(&self, queue: &str, job: &str) -> String {
        format!("{}.task.{queue}.{}", self.prefix, token(job))
    }

    /// The durable consumer of a queue.
    pub(super) fn queue_consumer(&self, queue: &str) -> String {
        format!("pool-{queue}")
    }

    /// All results.
    pub(super) fn results(&self) -> String {
        format!("{}.result.>", self.prefix)
    }

    /// All results of one client.
    pub(super) fn results_of(&self, client: &str) -> String {
        format!("{}.result.{client}.>", self.prefix)
    }

    pub(super) fn result(&self, client: &str, job: &str) -> String {
        format!("{}.result.{client}.{job}", self.prefix)
    }

    /// The durable consumer of a client's results.
    pub(super) fn results_consumer(&self, client: &str, generation: u64) -> String {
        format!("res-{client}-{generation}")
    }

    /// Where nodes tell a client that its jobs have begun.
    pub(super) fn begun(&self, client: &str) -> String {
        format!("{}.begun.{client}", self.prefix)
    }

    pub(super) fn cancel(&self, job: &str) -> String {
        format!("{}.cancel.{job}", self.prefix)
    }

    pub(super) fn cancels(&self) -> String {
        format!("{}.cancel.*", self.prefix)
    }

    pub(super) fn dead_letters(&self) -> String {
        format!("{}.dlq.>", self.prefix)
    }

    pub(super) fn dead_letter(&self, queue: &str) -> String {
        format!("{}.dlq.{queue}", self.prefix)
    }

    /// Calls of the mode without a queue.
    pub(super) fn call(&self, queue: &str) -> String {
        format!("{}.rpc.{queue}", self.prefix)
    }

    /// The stream behind the bucket for payloads.
    pub(super) fn payloads_stream(&self) -> String {
        format!("OBJ_{}", self.payloads_bucket())
    }

    /// Objects' parts and their descriptions.
    pub(super) fn payloads(&self) -> [String; 2] {
        let bucket = self.payloads_bucket();
        [format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")]
    }

    /// The durable consumer of the advisories, shared by all nodes.
    pub(super) fn janitor_consumer(&self) -> String {
        "janitor".to_owned()
    }

    /// The advisories of deliveries that were given up.
    pub(super) fn advisories(&self) -> String {
        format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.*", self.tasks_stream())
    }
}

/// A text as one token of a subject.
fn token(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    text.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_job_is_one_token() {
        let names = Names::new("heavylift");
        assert_eq!(names.task("default", "a::b.c *>é"), "heavylift.task.default.a::b_c____");
        assert_eq!(Names::new("my-app").tasks_stream(), "MY_APP_TASKS");
    }
}
