//! Buffers that are used again for later results.

use super::{
    super::{Copied, Place},
    Parent, Worker, header, ring,
};

/// Has the worker answer a job so, and returns what the parent reads.
fn answer(parent: &mut Parent, worker: &mut Worker, result: &[u8]) -> Vec<u8> {
    parent.send(&header(1), Place::Inline(b"")).unwrap();
    worker.claim(|| 1).unwrap().unwrap();
    worker.publish(0, Place::Inline(result));
    match parent.take_reply().unwrap().unwrap().result {
        Place::Inline(Copied::Many(bytes)) => bytes,
        other => panic!("{other:?} has no buffer"),
    }
}

#[test]
fn a_result_in_a_buffer_that_was_used_before_is_that_result_alone() {
    let (_arena, mut parent, mut worker) = ring();
    for len in [200, 40, 500, 33, 2048, 64] {
        let result: Vec<u8> = (0..len).map(|at| at as u8 ^ len as u8).collect();
        let read = answer(&mut parent, &mut worker, &result);
        assert_eq!(read, result);
        parent.reuse(&mut vec![read]);
    }
}

#[test]
fn a_buffer_is_used_again() {
    let (_arena, mut parent, mut worker) = ring();
    let first = answer(&mut parent, &mut worker, &[1; 200]);
    let address = first.as_ptr();
    let mut emptied = vec![first];
    parent.reuse(&mut emptied);
    assert!(emptied.is_empty());
    let second = answer(&mut parent, &mut worker, &[2; 150]);
    assert_eq!((second.as_ptr(), second), (address, vec![2; 150]));
    let third = answer(&mut parent, &mut worker, &[3; 150]);
    assert_ne!(third.as_ptr(), address);
}
