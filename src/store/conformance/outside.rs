//! Limits of groups, messages to webhooks, firings of schedules.

use super::super::Store;
use super::super::rows::{ClaimDeliveriesRow, DeliveryEnd, ScheduleRow, WebhookRow};
use super::{begin, insert, task};
use domain::{Group, GroupKind, Limit, Rate, ScheduleId, TaskId, Timestamp};
use wire::DeliveryState;

pub async fn limits_are_kept(store: &dyn Store) {
    let group = Group::new(GroupKind::Tag, "a");
    let limit = Limit { concurrency: Some(2), rate: Some(Rate { starts: 2, period_ms: 1_000 }), paused: false };
    let mut tx = begin(store).await;
    tx.put_limit(&group, Some(&limit)).await.expect("put");
    tx.put_limit(&group, Some(&Limit { paused: true, ..limit })).await.expect("put again");
    assert_eq!(tx.limits().await.expect("a read"), [(group.clone(), Limit { paused: true, ..limit })]);
    for at in [10, 30, 20] {
        tx.insert_start(&group, Timestamp(at)).await.expect("inserted");
    }
    assert_eq!(tx.starts(&group, Timestamp(0), 2).await.expect("a read"), [Timestamp(20), Timestamp(30)], "the newest");
    tx.remove_starts(&group, Some(Timestamp(20))).await.expect("removed");
    assert_eq!(tx.starts(&group, Timestamp(0), 9).await.expect("a read"), [Timestamp(30)]);
    tx.put_limit(&group, None).await.expect("removed");
    assert_eq!(tx.limit(&group).await.expect("a read"), None);
}

pub async fn deliveries_are_claimed_by_host(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let hook = |id: &str, url: &str| WebhookRow {
        id: id.to_owned(),
        key_name: None,
        task_id: None,
        url: url.to_owned(),
        secret: None,
        events: ",task.completed,task.failed,".to_owned(),
        created_at: Timestamp(1),
        failing_since: None,
        disabled_at: None,
        disabled_reason: None,
        format: None,
        tags: None,
        quiet: false,
    };
    let mut tx = begin(store).await;
    for (id, url) in [("a", "http://One.test/x"), ("b", "http://one.test/y"), ("c", "https://two.test")] {
        tx.insert_webhook(&hook(id, url)).await.expect("inserted");
    }
    tx.insert_webhook(&hook("d", "http://off.test")).await.expect("inserted");
    let off = WebhookRow { disabled_at: Some(Timestamp(2)), ..hook("d", "http://off.test") };
    tx.update_webhook(&off).await.expect("disabled");
    tx.queue_deliveries(TaskId::from_u128(1), "task.completed", Timestamp(5)).await.expect("queued");
    tx.queue_deliveries(TaskId::from_u128(1), "task.started", Timestamp(5)).await.expect("nothing queued");
    let busy = ["two.test".to_owned()];
    let claim = |busy| ClaimDeliveriesRow {
        due_by: Timestamp(10),
        made_by: Timestamp(10),
        until: Timestamp(99),
        limit: 9,
        per_host: 1,
        busy,
    };
    let first = tx.claim_deliveries(&claim(&busy)).await.expect("claimed");
    assert_eq!(first.iter().map(|one| (&*one.host, one.attempt)).collect::<Vec<_>>(), [("one.test", 1)]);
    assert_eq!(tx.claim_deliveries(&claim(&[])).await.expect("claimed").len(), 2, "the other one, and the other host");
    assert!(tx.claim_deliveries(&claim(&[])).await.expect("claimed").is_empty());
    let end = DeliveryEnd {
        id: &first[0].id,
        attempt: 2,
        body: Some("{}"),
        status: Some(200),
        error: None,
        state: DeliveryState::Delivered,
        next_at: Timestamp(11),
        ended_at: Some(Timestamp(11)),
    };
    tx.end_delivery(&end).await.expect("nothing: it is another attempt's");
    tx.end_delivery(&DeliveryEnd { attempt: 1, ..end }).await.expect("ended");
    assert!(tx.webhook_of(&first[0].id).await.expect("a read").is_some());
    tx.commit().await.expect("committed");
    let all = store.reader().deliveries(TaskId::from_u128(1)).await.expect("a read");
    let delivered: Vec<_> = all.iter().filter(|one| one.state == DeliveryState::Delivered.into()).collect();
    assert_eq!((all.len(), delivered.len()), (3, 1));
    let (_, next) = store.reader().next_delivery().await.expect("a read");
    assert_eq!(next, Some(Timestamp(99)), "those that nobody has told of");
    let mut tx = begin(store).await;
    tx.queue_deliveries(TaskId::from_u128(1), "task.failed", Timestamp(5)).await.expect("queued");
    tx.commit().await.expect("committed");
    let (now, next) = store.reader().next_delivery().await.expect("a read");
    assert!(next.is_some_and(|next| next <= now), "a new one is due at once");
    let mut tx = begin(store).await;
    for hook in ["a", "b", "c"] {
        tx.fail_deliveries(hook, "gone", Timestamp(6)).await.expect("failed");
    }
    tx.commit().await.expect("committed");
    assert_eq!(store.reader().next_delivery().await.expect("a read").1, None);
}

pub async fn a_firing_stays_with_its_timetable(store: &dyn Store) {
    let id = ScheduleId::from_u128(7);
    let row = |cron: &str, next| ScheduleRow {
        id,
        name: None,
        cron: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        spec: task(1).spec,
        key_name: "default".to_owned(),
        missed: "once".to_owned(),
        overlap: "allow".to_owned(),
        continue_session: false,
        enabled: true,
        next_at: Some(Timestamp(next)),
        created_at: Timestamp(0),
    };
    let mut tx = begin(store).await;
    let mut firings = Vec::new();
    for (cron, next) in [("0 * * * *", 1), ("0 * * * *", 2), ("5 * * * *", 3)] {
        tx.put_schedule(&row(cron, next)).await.expect("put");
        for at in 1..=3 {
            if tx.is_next_firing(id, Some(Timestamp(at))).await.expect("a read") {
                firings.push(at);
            }
        }
    }
    assert_eq!(firings, [1, 1, 3]);
    assert!(!tx.set_next_firing(id, Some(Timestamp(1)), Some(Timestamp(4))).await.expect("a statement"));
    assert!(tx.set_next_firing(id, Some(Timestamp(3)), Some(Timestamp(4))).await.expect("a statement"));
    assert!(tx.remove_schedule(id).await.expect("removed") && !tx.has_schedule(id).await.expect("a read"));
}
