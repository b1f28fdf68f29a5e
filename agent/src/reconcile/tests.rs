//! The loop without a kernel.

mod changes;
mod connections;
mod fake;
mod moved;
mod node;
mod order;
mod outcomes;
mod reply_path;

use std::{sync::mpsc, time::Duration};

use super::*;

#[test]
fn interfaces_are_read_unless_only_objects_have_changed_and_then_every_now_and_then() {
    assert_eq!(resync_after(Some(Event::Objects), false), Resync::Objects);
    for (event, due) in [
        (Some(Event::Objects), true),
        (Some(Event::Network), false),
        (None, false),
    ] {
        assert_eq!(resync_after(event, due), Resync::Full, "{event:?} {due}");
    }
}

#[test]
fn a_burst_of_events_wakes_the_loop_once_and_a_stop_is_never_lost_in_it() {
    let (sender, events) = mpsc::channel();
    for event in [Event::Objects, Event::Network, Event::Objects] {
        sender.send(event).unwrap();
    }
    assert_eq!(next(&events, Duration::ZERO), Some(Event::Network));
    assert_eq!(next(&events, Duration::ZERO), None);

    for event in [Event::Network, Event::Stop, Event::Network] {
        sender.send(event).unwrap();
    }
    assert_eq!(next(&events, Duration::ZERO), Some(Event::Stop));
}
