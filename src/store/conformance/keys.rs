//! API keys, what each has, and the audit log.

use super::{begin, insert, task};
use crate::store::Store;
use crate::store::rows::{ApiKeyRow, AuditRow, KeyUse, TaskRow, WebhookRow};
use domain::{SessionId, Status, TaskId, Timestamp, Usd};

fn row(name: &str) -> ApiKeyRow {
    ApiKeyRow {
        name: name.to_owned(),
        hash: format!("hash of {name}"),
        previous_hash: None,
        previous_until: None,
        rights: r#"{"scopes":["read"],"limits":{}}"#.to_owned(),
        daily_budget_usd: None,
        created_at: 1,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn of(key: &str, id: u128) -> TaskRow {
    TaskRow { key_name: key.to_owned(), ..task(id) }
}

pub async fn keys_are_kept_by_name(store: &dyn Store) {
    let mut tx = begin(store).await;
    let poor = ApiKeyRow { daily_budget_usd: Some(Usd::of(2.0)), ..row("b") };
    for (one, is_new) in [(row("a"), true), (poor, true), (row("a"), false)] {
        assert_eq!(tx.insert_api_key(&one).await.expect("a statement"), is_new, "{}", one.name);
    }
    assert_eq!(tx.key_budgets().await.expect("a read"), [("b".to_owned(), Usd::of(2.0))]);
    let rotated = ApiKeyRow {
        hash: "new".to_owned(),
        previous_hash: Some("hash of a".to_owned()),
        previous_until: Some(9),
        revoked_at: Some(7),
        ..row("a")
    };
    tx.update_api_key(&rotated).await.expect("changed");
    for at in [5, 3] {
        tx.touch_api_key("a", Timestamp(at)).await.expect("noted");
    }
    assert_eq!(tx.api_key("a").await.expect("a read"), Some(ApiKeyRow { last_used_at: Some(5), ..rotated }));
    tx.commit().await.expect("committed");
    let keys = store.reader().api_keys().await.expect("a read");
    assert_eq!(keys.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["a", "b"]);
    assert!(keys[0].has_previous("hash of a", Timestamp(8)) && !keys[0].has_previous("hash of a", Timestamp(9)));
}

pub async fn a_key_has_its_own(store: &dyn Store) {
    let ended = TaskRow { status: Status::Completed.into(), completed_at: Some(5), ..of("a", 3) };
    insert(store, &[of("a", 1), of("a", 2), ended, of("b", 4)]).await;
    let mut tx = begin(store).await;
    for bytes in [10, 5, -3] {
        tx.add_key_bytes("a", bytes).await.expect("added");
    }
    let since = |most| (Timestamp(0), most);
    let (day, most) = since(9);
    let all = KeyUse { pending: 2, submitted: 3, bytes: 12 };
    assert_eq!(tx.key_use("a", day, most).await.expect("a read"), all);
    assert_eq!(tx.key_use("a", day, 2).await.expect("a read").submitted, 2, "no more are counted than are asked for");
    assert_eq!(tx.key_use("a", Timestamp(1), most).await.expect("a read").submitted, 0, "on a later day");
    assert_eq!(tx.key_use("c", day, most).await.expect("a read"), KeyUse::default());
    let hook = |id: &str, key: Option<&str>| WebhookRow {
        id: id.to_owned(),
        key_name: key.map(str::to_owned),
        task_id: None,
        url: "http://one.test".to_owned(),
        secret: None,
        events: ",completed,".to_owned(),
        created_at: Timestamp(1),
        failing_since: None,
        disabled_at: None,
        disabled_reason: None,
        format: None,
        tags: None,
        quiet: false,
    };
    for one in [hook("all", None), hook("of-a", Some("a")), hook("of-b", Some("b"))] {
        tx.insert_webhook(&one).await.expect("inserted");
    }
    assert_eq!(tx.count_webhooks("a").await.expect("a read"), 1);
    tx.queue_deliveries(TaskId::from_u128(1), "completed", Timestamp(5)).await.expect("queued");
    assert!(!tx.remove_webhook("of-b", Some("a")).await.expect("a statement"), "another's");
    tx.commit().await.expect("committed");
    let reader = store.reader();
    assert_eq!(reader.deliveries(TaskId::from_u128(1)).await.expect("a read").len(), 2, "not the other key's");
    assert_eq!(reader.webhooks(Some("a".to_owned())).await.expect("a read").len(), 1);
    assert_eq!(reader.stats(Some("b".to_owned())).await.expect("a read").count(Status::Pending), 1);
    assert_eq!(reader.stats(None).await.expect("a read").count(Status::Pending), 3);
    assert_eq!(reader.owner(TaskId::from_u128(4)).await.expect("a read").as_deref(), Some("b"));
    assert_eq!(reader.owner(TaskId::from_u128(9)).await.expect("a read"), None);
    for (key, session, has) in [("a", 1, true), ("b", 1, false), ("a", 9, false)] {
        let found = reader.has_session(key.to_owned(), SessionId::from_u128(session)).await.expect("a read");
        assert_eq!(found, has, "{key} {session}");
    }
}

pub async fn the_audit_log_goes_back_page_by_page(store: &dyn Store) {
    let mut tx = begin(store).await;
    for n in 0..3 {
        let row = AuditRow {
            key_name: "a".to_owned(),
            address: None,
            action: "pauseQueue".to_owned(),
            path: format!("/{n}"),
            status: 200,
            detail: "{}".to_owned(),
        };
        tx.append_audit(&row).await.expect("appended");
    }
    tx.commit().await.expect("committed");
    let newest = store.reader().audit_log(i64::MAX, 2).await.expect("a read");
    assert_eq!(newest.iter().map(|entry| &*entry.path).collect::<Vec<_>>(), ["/2", "/1"]);
    let rest = store.reader().audit_log(newest[1].id, 2).await.expect("a read");
    assert_eq!(rest.iter().map(|entry| &*entry.path).collect::<Vec<_>>(), ["/0"]);
}
