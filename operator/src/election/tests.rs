use super::*;

#[expect(clippy::unnecessary_wraps, reason = "a Lease may also be missing")]
fn record(holder: &str, version: &str) -> Option<Record> {
    Some(Record {
        holder: holder.into(),
        duration: LEASE,
        version: version.into(),
    })
}

#[test]
fn a_lease_that_is_not_there_is_made_and_one_that_nobody_holds_is_taken() {
    let now = Instant::now();
    let mut observer = Observer::default();
    assert_eq!(observer.decide("me", None, now), Action::Create);
    assert_eq!(observer.decide("me", record("", "1"), now), Action::Take);
    assert_eq!(observer.decide("me", record("me", "2"), now), Action::Renew);
}

#[test]
fn a_lease_is_taken_over_when_it_has_stood_still_before_our_own_eyes() {
    let start = Instant::now();
    let mut observer = Observer::default();
    assert_eq!(observer.decide("me", record("other", "1"), start), Action::Wait);
    let almost = start + Duration::from_millis(14_999);
    assert_eq!(observer.decide("me", record("other", "1"), almost), Action::Wait);
    assert_eq!(
        observer.decide("me", record("other", "1"), start + LEASE),
        Action::Take
    );
}

#[test]
fn a_renewal_starts_the_wait_anew() {
    let start = Instant::now();
    let mut observer = Observer::default();
    for step in 0..10 {
        let now = start + LEASE * step;
        assert_eq!(
            observer.decide("me", record("other", &step.to_string()), now),
            Action::Wait
        );
    }
}

#[test]
fn a_holder_that_asked_for_a_short_time_gets_a_short_time() {
    let start = Instant::now();
    let mut observer = Observer::default();
    let released = Record {
        duration: Duration::from_secs(1),
        ..record("other", "1").unwrap()
    };
    assert_eq!(observer.decide("me", Some(released.clone()), start), Action::Wait);
    let later = start + Duration::from_secs(1);
    assert_eq!(observer.decide("me", Some(released), later), Action::Take);
}

#[test]
fn a_leader_stops_before_others_may_begin() {
    assert!(RENEW + RETRY < LEASE);
    let start = Instant::now();
    let leader = Standing::Leader(start);
    let still = leader
        .clone()
        .after(Outcome::Unknown, start + Duration::from_millis(9_999));
    assert!(still.leads());
    assert_eq!(
        leader.clone().after(Outcome::Unknown, start + RENEW),
        Standing::Suspended
    );
    assert!(leader.deadline(start + Duration::from_secs(9)) <= start + RENEW);
}

#[test]
fn a_silent_api_server_suspends_a_leader_and_its_return_reinstates_it() {
    let start = Instant::now();
    let suspended = Standing::Leader(start).after(Outcome::Unknown, start + RENEW);
    let later = start + RENEW * 10;
    let waiting = suspended.after(Outcome::Unknown, later);
    assert_eq!(waiting, Standing::Suspended);
    assert_eq!(
        waiting.after(Outcome::Held(later), later),
        Standing::Leader(later)
    );
}

#[test]
fn who_has_led_and_finds_another_in_its_place_ends() {
    let start = Instant::now();
    let other = || Outcome::Other("other".into());
    let deposed = Standing::Deposed("other".into());
    assert_eq!(Standing::Leader(start).after(other(), start), deposed);
    assert_eq!(Standing::Suspended.after(other(), start), deposed);
    assert_eq!(deposed.clone().after(Outcome::Held(start), start), deposed);
    assert_eq!(Standing::Follower.after(other(), start), Standing::Follower);
}

#[test]
fn a_renewal_counts_from_when_it_was_asked_for() {
    let asked = Instant::now();
    let answered = asked + Duration::from_secs(4);
    assert_eq!(
        Standing::Follower.after(Outcome::Held(asked), answered),
        Standing::Leader(asked)
    );
}
