use super::*;

#[expect(clippy::unnecessary_wraps, reason = "a Lease may also be absent")]
fn record(holder: &str, version: &str) -> Option<LeaseRecord> {
    Some(LeaseRecord {
        holder: holder.into(),
        duration: LEASE,
        version: version.into(),
    })
}

#[test]
fn an_absent_lease_is_created_and_a_free_one_is_acquired() {
    let now = Instant::now();
    let mut observer = LeaseObserver::default();
    assert_eq!(observer.decide("me", None, now), LeaseAction::Create);
    assert_eq!(observer.decide("me", record("", "1"), now), LeaseAction::Acquire);
    assert_eq!(observer.decide("me", record("me", "2"), now), LeaseAction::Renew);
}

#[test]
fn a_lease_is_acquired_after_this_process_has_seen_it_unchanged_for_its_duration() {
    let start = Instant::now();
    let mut observer = LeaseObserver::default();
    assert_eq!(
        observer.decide("me", record("other", "1"), start),
        LeaseAction::Wait
    );
    let almost = start + Duration::from_millis(14_999);
    assert_eq!(
        observer.decide("me", record("other", "1"), almost),
        LeaseAction::Wait
    );
    assert_eq!(
        observer.decide("me", record("other", "1"), start + LEASE),
        LeaseAction::Acquire
    );
}

#[test]
fn a_renewal_restarts_the_wait() {
    let start = Instant::now();
    let mut observer = LeaseObserver::default();
    for step in 0..10 {
        let now = start + LEASE * step;
        assert_eq!(
            observer.decide("me", record("other", &step.to_string()), now),
            LeaseAction::Wait
        );
    }
}

#[test]
fn a_lease_with_a_short_duration_expires_soon() {
    let start = Instant::now();
    let mut observer = LeaseObserver::default();
    let released = LeaseRecord {
        duration: Duration::from_secs(1),
        ..record("other", "1").unwrap()
    };
    assert_eq!(
        observer.decide("me", Some(released.clone()), start),
        LeaseAction::Wait
    );
    let later = start + Duration::from_secs(1);
    assert_eq!(observer.decide("me", Some(released), later), LeaseAction::Acquire);
}

#[test]
fn a_leader_stops_before_another_may_start() {
    assert!(RENEW + RETRY < LEASE);
    let start = Instant::now();
    let leader = Role::Leader(start);
    let still = leader
        .clone()
        .after(Attempt::Unknown, start + Duration::from_millis(9_999));
    assert!(still.leads());
    assert_eq!(
        leader.clone().after(Attempt::Unknown, start + RENEW),
        Role::Suspended
    );
    assert!(leader.deadline(start + Duration::from_secs(9)) <= start + RENEW);
}

#[test]
fn a_leader_is_suspended_while_the_api_server_does_not_answer() {
    let start = Instant::now();
    let suspended = Role::Leader(start).after(Attempt::Unknown, start + RENEW);
    let later = start + RENEW * 10;
    let waiting = suspended.after(Attempt::Unknown, later);
    assert_eq!(waiting, Role::Suspended);
    assert_eq!(waiting.after(Attempt::Held(later), later), Role::Leader(later));
}

#[test]
fn a_former_leader_that_finds_another_leader_exits() {
    let start = Instant::now();
    let other = || Attempt::Other("other".into());
    let lost = Role::LostLeadership("other".into());
    assert_eq!(Role::Leader(start).after(other(), start), lost);
    assert_eq!(Role::Suspended.after(other(), start), lost);
    assert_eq!(lost.clone().after(Attempt::Held(start), start), lost);
    assert_eq!(Role::Follower.after(other(), start), Role::Follower);
}

#[test]
fn a_renewal_counts_from_its_request() {
    let asked = Instant::now();
    let answered = asked + Duration::from_secs(4);
    assert_eq!(
        Role::Follower.after(Attempt::Held(asked), answered),
        Role::Leader(asked)
    );
}
