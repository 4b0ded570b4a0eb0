//! Models of a job that is sent while its task is stopped: either it is not sent, or whoever stops it finds it.

use loom::{
    sync::{Mutex, atomic::AtomicBool},
    thread,
};

use self::protocol::assigned::Assigned;
use crate::{
    check,
    sync::{Arc, Ordering::Relaxed},
};

#[path = "../../src/process/parent"]
mod protocol {
    pub(crate) mod assigned;
}

#[test]
fn a_stopped_job_is_not_sent_or_is_found() {
    check(|| {
        let assigned: Arc<[Assigned; 2]> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        // The jobs in one worker's ring.
        let link = Arc::new(Mutex::new(Vec::new()));
        let sender = {
            let (assigned, stop, link) = (assigned.clone(), stop.clone(), link.clone());
            thread::spawn(move || {
                let mut link = link.lock().unwrap();
                assigned.iter().for_each(|job| job.set(7));
                Assigned::settle();
                link.push(0);
                // The second job is the one that is stopped.
                if !stop.load(Relaxed) {
                    link.push(1);
                }
            })
        };
        stop.store(true, Relaxed);
        if let Some(worker) = assigned[1].ticket() {
            assert_eq!(worker, 7);
            link.lock().unwrap().retain(|&job| job != 1);
        }
        sender.join().unwrap();
        assert_eq!(*link.lock().unwrap(), [0]);
    });
}
