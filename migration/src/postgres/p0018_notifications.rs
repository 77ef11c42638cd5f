//! Messages of webhooks in the shape of services that notify people, and rules for them.

use super::Step;

/// The eighteenth step.
pub const STEP: Step = Step { name: "p0018_notifications", up: UP, down: DOWN };

/// Without a format a message is JSON, as before. `tags` has each between two characters 31.
const UP: &[&str] = &[
    "ALTER TABLE webhooks ADD COLUMN format TEXT, ADD COLUMN tags TEXT, ADD COLUMN quiet BOOLEAN",
    "ALTER TABLE deliveries ADD COLUMN format TEXT, ADD COLUMN quiet BOOLEAN",
];

const DOWN: &[&str] = &[
    "ALTER TABLE deliveries DROP COLUMN quiet, DROP COLUMN format",
    "ALTER TABLE webhooks DROP COLUMN quiet, DROP COLUMN tags, DROP COLUMN format",
];
