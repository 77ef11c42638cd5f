//! Secrets of keys.

use super::super::Store;
use super::super::rows::SecretRow;
use super::begin;
use domain::Timestamp;

pub async fn a_secret_is_one_keys_and_keeps_its_beginning(store: &dyn Store) {
    let row = |key: &str, name: &str, sealed: &[u8], at| SecretRow {
        key_name: key.to_owned(),
        name: name.to_owned(),
        sealed: sealed.to_vec(),
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    };
    let mut tx = begin(store).await;
    for secret in [row("b", "x", b"\0\xff", 1), row("a", "y", b"2", 2), row("a", "B", b"3", 3)] {
        tx.put_secret(&secret).await.expect("stored");
    }
    tx.put_secret(&row("a", "y", b"4", 9)).await.expect("stored anew");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    let found = tx.secret("a", "y").await.expect("a read").expect("a secret");
    assert_eq!((found.sealed, found.created_at, found.updated_at), (b"4".to_vec(), Timestamp(2), Timestamp(9)));
    assert_eq!(tx.secret("b", "y").await.expect("a read"), None);
    tx.remove_secret("a", "y").await.expect("removed");
    tx.commit().await.expect("committed");
    let reader = store.reader();
    assert_eq!(reader.secrets(Some("a".to_owned())).await.expect("a list"), [row("a", "B", b"3", 3)]);
    let all = reader.secrets(None).await.expect("a list");
    assert_eq!(all, [row("a", "B", b"3", 3), row("b", "x", b"\0\xff", 1)]);
}
