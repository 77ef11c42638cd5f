BEGIN TRANSACTION;
CREATE TABLE api_keys (
        name TEXT NOT NULL PRIMARY KEY,
        hash TEXT NOT NULL,
        previous_hash TEXT,
        previous_until BIGINT,
        rights TEXT NOT NULL,
        daily_budget_usd DOUBLE,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    );
INSERT INTO "api_keys" VALUES('ci','abababababababababababababababababababababababababababababababab','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',99,'{"scopes":["read"]}',5.5,1,2,NULL,3);
CREATE TABLE artifacts (
        task_id BLOB NOT NULL,
        path TEXT NOT NULL,
        blob BLOB NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (task_id, path)
    ) WITHOUT ROWID;
INSERT INTO "artifacts" VALUES(X'01A21ADE724976AA9E10CB5700348206','out/a.txt',X'01A228B67E0073DD8EF6A512A4ED784A',3,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa');
CREATE TABLE attempts (
        task_id BLOB NOT NULL,
        number INTEGER NOT NULL,
        epoch BIGINT NOT NULL,
        worker TEXT,
        started_at BIGINT NOT NULL,
        ended_at BIGINT,
        outcome TEXT CHECK (outcome IN ('completed','failed','crashed','released','cancelled')),
        error_class TEXT,
        error_code TEXT,
        error_message TEXT,
        session_id TEXT,
        cost_usd DOUBLE, input_tokens BIGINT NOT NULL DEFAULT 0, output_tokens BIGINT NOT NULL DEFAULT 0, cache_read_tokens BIGINT NOT NULL DEFAULT 0, cache_write_tokens BIGINT NOT NULL DEFAULT 0, key_name TEXT NOT NULL DEFAULT 'default', reserved_usd DOUBLE, cost_set_aside BOOLEAN NOT NULL DEFAULT FALSE,
        PRIMARY KEY (task_id, number),
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    ) WITHOUT ROWID;
INSERT INTO "attempts" VALUES(X'01A21ADE724976AA9E10CB5700348206',1,1,'inline',1795747115593,1795747115711,'completed',NULL,NULL,NULL,'none',0.01,0,0,0,0,'default',NULL,1);
INSERT INTO "attempts" VALUES(X'01A21ADE733176C7824F863C148CB437',1,1,'inline',1795747115825,1795797846415,'crashed','crashed','WORKER_DIED','the worker died','01a21ade-7331-76c7-824f-863c148cb437',NULL,0,0,0,0,'default',NULL,1);
CREATE TABLE audit_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at BIGINT NOT NULL,
        key_name TEXT NOT NULL,
        address TEXT,
        action TEXT NOT NULL,
        path TEXT NOT NULL,
        status INTEGER NOT NULL,
        detail TEXT NOT NULL
    );
INSERT INTO "audit_log" VALUES(1,5,'ci','127.0.0.1','submitTask','/api/tasks',202,'{}');
CREATE TABLE changes (task_id BLOB NOT NULL PRIMARY KEY, summary TEXT NOT NULL, patch BLOB NOT NULL);
INSERT INTO "changes" VALUES(X'01A21ADE724976AA9E10CB5700348206','x',X'01');
CREATE TABLE child_tasks (
        task_id BLOB NOT NULL PRIMARY KEY,
        parent_id BLOB NOT NULL,
        depth BIGINT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "child_tasks" VALUES(X'01A21ADE724976AA9E10CB57003482FF',X'01A21ADE724976AA9E10CB5700348206',1);
CREATE TABLE credentials (
        id TEXT NOT NULL PRIMARY KEY,
        parked_until BIGINT NOT NULL,
        class TEXT NOT NULL,
        message TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "credentials" VALUES('x',1,'x','x');
CREATE TABLE deliveries (
        id TEXT NOT NULL PRIMARY KEY,
        task_id BLOB NOT NULL,
        url TEXT NOT NULL,
        secret TEXT,
        event TEXT NOT NULL,
        body TEXT,
        created_at BIGINT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending','delivered','failed')),
        attempts INTEGER NOT NULL,
        next_at BIGINT NOT NULL,
        last_status INTEGER,
        last_error TEXT,
        ended_at BIGINT
    , webhook_id TEXT, host TEXT NOT NULL DEFAULT '', format TEXT, quiet BOOLEAN);
INSERT INTO "deliveries" VALUES('d58bf9f118ec19a92f7afa75c5e573d0',X'01A21ADE724976AA9E10CB5700348206','http://127.0.0.1:9/',NULL,'completed','{"type":"task.completed","timestamp":"2026-11-27T02:38:35.711Z","data":{"taskId":"01a21ade-7249-76aa-9e10-cb5700348206","status":"completed","instruction":"done","context":{},"options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}},"priority":0,"tags":["blue","red"],"concurrencyKey":"done","workingDirectory":"/home/user/data/work/01a21ade-7249-76aa-9e10-cb5700348206","createdAt":"2026-11-27T02:38:35.593Z","runAt":null,"dueAt":null,"startedAt":"2026-11-27T02:38:35.593Z","completedAt":"2026-11-27T02:38:35.711Z","attempt":1,"maxAttempts":3,"crashes":0,"workerId":"inline","result":"ok","resultTruncated":false,"resultBytes":2,"instructionTruncated":false,"structuredOutput":null,"error":null,"sdkSessionId":"none","continuedFrom":null,"retryOf":null,"costUsd":0.01,"usage":null,"numTurns":1,"durationMs":100,"permissionDenials":null,"waitingFor":null,"costSetAside":false,"backgroundEnded":[],"changes":null,"attempts":[{"number":1,"workerId":"inline","startedAt":"2026-11-27T02:38:35.593Z","endedAt":"2026-11-27T02:38:35.711Z","outcome":"completed","error":null,"sdkSessionId":"none","costUsd":0.01,"costSetAside":false,"tokens":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0}}]}}',1795747115711,'pending',5,1795908901899,NULL,'io: its address is private, and not in WEBHOOK_ALLOWED_HOSTS',NULL,'3c003146c193b975cbfb84939278e0c1','localhost',NULL,NULL);
INSERT INTO "deliveries" VALUES('7a0584b943aa400de055b4f81772748c',X'01A21ADE724976AA9E10CB5700348206','http://127.0.0.1:9/',NULL,'completed','{"type":"task.completed","timestamp":"2026-11-27T02:38:35.711Z","data":{"taskId":"01a21ade-7249-76aa-9e10-cb5700348206","status":"completed","instruction":"done","context":{},"options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}},"priority":0,"tags":["blue","red"],"concurrencyKey":"done","workingDirectory":"/home/user/data/work/01a21ade-7249-76aa-9e10-cb5700348206","createdAt":"2026-11-27T02:38:35.593Z","runAt":null,"dueAt":null,"startedAt":"2026-11-27T02:38:35.593Z","completedAt":"2026-11-27T02:38:35.711Z","attempt":1,"maxAttempts":3,"crashes":0,"workerId":"inline","result":"ok","resultTruncated":false,"resultBytes":2,"instructionTruncated":false,"structuredOutput":null,"error":null,"sdkSessionId":"none","continuedFrom":null,"retryOf":null,"costUsd":0.01,"usage":null,"numTurns":1,"durationMs":100,"permissionDenials":null,"waitingFor":null,"costSetAside":false,"backgroundEnded":[],"changes":null,"attempts":[{"number":1,"workerId":"inline","startedAt":"2026-11-27T02:38:35.593Z","endedAt":"2026-11-27T02:38:35.711Z","outcome":"completed","error":null,"sdkSessionId":"none","costUsd":0.01,"costSetAside":false,"tokens":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0}}]}}',1795747115711,'pending',5,1795908843643,NULL,'io: its address is private, and not in WEBHOOK_ALLOWED_HOSTS',NULL,'3c003146c193b975cbfb84939278e0c1','localhost',NULL,NULL);
INSERT INTO "deliveries" VALUES('946a441c2e8d99484fad12cacdd3d6d8',X'01A21ADE7318722AB92A648D71DC5833','http://127.0.0.1:9/',NULL,'cancelled','{"type":"task.cancelled","timestamp":"2026-11-27T02:38:35.809Z","data":{"taskId":"01a21ade-7318-722a-b92a-648d71dc5833","status":"cancelled","instruction":"cancelled","context":{},"options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}},"priority":0,"tags":["blue","red"],"concurrencyKey":"cancelled","workingDirectory":"/home/user/data/work/01a21ade-7318-722a-b92a-648d71dc5833","createdAt":"2026-11-27T02:38:35.800Z","runAt":"2125-01-01T00:00:00.000Z","dueAt":null,"startedAt":null,"completedAt":"2026-11-27T02:38:35.809Z","attempt":0,"maxAttempts":3,"crashes":0,"workerId":null,"result":null,"resultTruncated":false,"resultBytes":null,"instructionTruncated":false,"structuredOutput":null,"error":null,"sdkSessionId":"01a21ade-7318-722a-b92a-648d71dc5833","continuedFrom":null,"retryOf":null,"costUsd":null,"usage":null,"numTurns":null,"durationMs":null,"permissionDenials":null,"waitingFor":null,"costSetAside":false,"backgroundEnded":[],"changes":null,"attempts":[]}}',1795747115809,'pending',5,1795908872240,NULL,'io: its address is private, and not in WEBHOOK_ALLOWED_HOSTS',NULL,'3c003146c193b975cbfb84939278e0c1','localhost',NULL,NULL);
INSERT INTO "deliveries" VALUES('49f25840ba6bcf5ffb2f733356b0f190',X'01A21ADE7318722AB92A648D71DC5833','http://127.0.0.1:9/',NULL,'cancelled','{"type":"task.cancelled","timestamp":"2026-11-27T02:38:35.809Z","data":{"taskId":"01a21ade-7318-722a-b92a-648d71dc5833","status":"cancelled","instruction":"cancelled","context":{},"options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}},"priority":0,"tags":["blue","red"],"concurrencyKey":"cancelled","workingDirectory":"/home/user/data/work/01a21ade-7318-722a-b92a-648d71dc5833","createdAt":"2026-11-27T02:38:35.800Z","runAt":"2125-01-01T00:00:00.000Z","dueAt":null,"startedAt":null,"completedAt":"2026-11-27T02:38:35.809Z","attempt":0,"maxAttempts":3,"crashes":0,"workerId":null,"result":null,"resultTruncated":false,"resultBytes":null,"instructionTruncated":false,"structuredOutput":null,"error":null,"sdkSessionId":"01a21ade-7318-722a-b92a-648d71dc5833","continuedFrom":null,"retryOf":null,"costUsd":null,"usage":null,"numTurns":null,"durationMs":null,"permissionDenials":null,"waitingFor":null,"costSetAside":false,"backgroundEnded":[],"changes":null,"attempts":[]}}',1795747115809,'pending',5,1795908809500,NULL,'io: its address is private, and not in WEBHOOK_ALLOWED_HOSTS',NULL,'3c003146c193b975cbfb84939278e0c1','localhost',NULL,NULL);
CREATE TABLE dependencies (
        task_id BLOB NOT NULL,
        n INTEGER NOT NULL,
        on_task BLOB NOT NULL,
        name TEXT,
        condition TEXT NOT NULL,
        on_failure TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (task_id, n)
    ) WITHOUT ROWID;
INSERT INTO "dependencies" VALUES(X'01A21ADE732770E9955225C6BCEB19C3',0,X'01A21ADE724976AA9E10CB5700348206','first','completed','cancel','met');
INSERT INTO "dependencies" VALUES(X'01A21ADE732770E9955225C6BCEB19C3',1,X'01A21ADE733176C7824F863C148CB437',NULL,'ended','wait','open');
CREATE TABLE "events" (
        n INTEGER NOT NULL PRIMARY KEY,
        task_id BLOB NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    );
INSERT INTO "events" VALUES(1,X'01A21ADE724976AA9E10CB5700348206',1,1795747115593,'status','{"status":"pending"}');
INSERT INTO "events" VALUES(2,X'01A21ADE724976AA9E10CB5700348206',2,1795747115593,'status','{"status":"running","attempt":1,"workerId":"inline"}');
INSERT INTO "events" VALUES(3,X'01A21ADE724976AA9E10CB5700348206',3,1795747115619,'init','{"frame":{"type":"system","subtype":"init","session_id":"none"}}');
INSERT INTO "events" VALUES(4,X'01A21ADE724976AA9E10CB5700348206',4,1795747115619,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"1 of 2"}]}}}');
INSERT INTO "events" VALUES(5,X'01A21ADE724976AA9E10CB5700348206',5,1795747115646,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"2 of 2"}]}}}');
INSERT INTO "events" VALUES(6,X'01A21ADE724976AA9E10CB5700348206',6,1795747115665,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"3 of 2"}]}}}');
INSERT INTO "events" VALUES(7,X'01A21ADE724976AA9E10CB5700348206',7,1795747115681,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"4 of 2"}]}}}');
INSERT INTO "events" VALUES(8,X'01A21ADE724976AA9E10CB5700348206',8,1795747115709,'result','{"frame":{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"ok","total_cost_usd":0.01}}');
INSERT INTO "events" VALUES(9,X'01A21ADE724976AA9E10CB5700348206',9,1795747115711,'status','{"status":"completed","attempt":1}');
INSERT INTO "events" VALUES(10,X'01A21ADE7318722AB92A648D71DC5833',1,1795747115800,'status','{"status":"pending"}');
INSERT INTO "events" VALUES(11,X'01A21ADE7318722AB92A648D71DC5833',2,1795747115809,'status','{"status":"cancelled","attempt":0}');
INSERT INTO "events" VALUES(12,X'01A21ADE732770E9955225C6BCEB19C3',1,1795747115815,'status','{"status":"pending"}');
INSERT INTO "events" VALUES(13,X'01A21ADE733176C7824F863C148CB437',1,1795747115825,'status','{"status":"pending"}');
INSERT INTO "events" VALUES(14,X'01A21ADE733176C7824F863C148CB437',2,1795747115825,'status','{"status":"running","attempt":1,"workerId":"inline"}');
INSERT INTO "events" VALUES(15,X'01A21ADE733176C7824F863C148CB437',3,1795747115842,'init','{"frame":{"type":"system","subtype":"init","session_id":"none"}}');
INSERT INTO "events" VALUES(16,X'01A21ADE733176C7824F863C148CB437',4,1795747115842,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"1 of 2"}]}}}');
INSERT INTO "events" VALUES(17,X'01A21ADE733176C7824F863C148CB437',5,1795747116140,'assistant','{"frame":{"type":"assistant","message":{"model":"scripted","content":[{"type":"text","text":"2 of 2"}]}}}');
INSERT INTO "events" VALUES(18,X'01A21ADE733176C7824F863C148CB437',6,1795797846415,'status','{"status":"pending","attempt":1,"reason":"the worker died"}');
CREATE TABLE files (
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        blob BLOB NOT NULL,
        bytes BIGINT NOT NULL,
        complete BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (key_name, id)
    ) WITHOUT ROWID;
INSERT INTO "files" VALUES('ci','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',X'01A228B67E0073DD8EF6A512A4ED784A',3,1,1,2);
CREATE TABLE handovers (
        task_id BLOB NOT NULL PRIMARY KEY,
        epoch BIGINT NOT NULL,
        tree_holder BLOB NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "handovers" VALUES(X'01A21ADE724976AA9E10CB5700348206',1,X'01A21ADE724976AA9E10CB5700348206');
CREATE TABLE history (
        seq INTEGER NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        boot_ms BIGINT NOT NULL,
        done TEXT NOT NULL
    );
INSERT INTO "history" VALUES(1,1795747115581,5404097,'[{"did":"setLimit","group":"tag","name":"red","concurrency":3,"rate":{"starts":9,"periodMs":1000},"paused":false}]');
INSERT INTO "history" VALUES(2,1795747115593,5404108,'[{"did":"submit","task":"01a21ade-7249-76aa-9e10-cb5700348206","priority":0,"maxAttempts":3,"concurrencyKey":"done","key":["done","e423093d0d3614126c03620998bc722d8e47eccaf0006ddc771059d2d2be1a91"]},{"did":"claim","task":"01a21ade-7249-76aa-9e10-cb5700348206","epoch":1,"holder":"b3248f7f-6569-4e38-b7e3-0f887afa1d41","credential":"706e784f3661b7d0","attempt":1,"expires":5434108}]');
INSERT INTO "history" VALUES(3,1795747115711,5404226,'[{"did":"finish","task":"01a21ade-7249-76aa-9e10-cb5700348206","epoch":1,"outcome":"completed","counts":"ended","cost":0.01,"to":"completed"}]');
INSERT INTO "history" VALUES(4,1795747115784,5404299,'[{"did":"putSchedule","schedule":"01a21ade-7306-77d3-b6f3-cad0207bf6f0","new":true}]');
INSERT INTO "history" VALUES(5,1795747115800,5404316,'[{"did":"submit","task":"01a21ade-7318-722a-b92a-648d71dc5833","priority":0,"due":4891363200000,"maxAttempts":3,"concurrencyKey":"cancelled","key":["cancelled","aaa6cac934ab8e455cd1e97a106e27e2e2674a342758b84313a80873239d9e92"]}]');
INSERT INTO "history" VALUES(6,1795747115809,5404325,'[{"did":"cancel","task":"01a21ade-7318-722a-b92a-648d71dc5833","epoch":0}]');
INSERT INTO "history" VALUES(7,1795747115815,5404330,'[{"did":"submit","task":"01a21ade-7327-70e9-9552-25c6bceb19c3","priority":0,"due":4891363200000,"maxAttempts":3,"concurrencyKey":"later","key":["later","d54216430687f293d1b1a52b6d4205311ce30b95d7df42078820e8290a6a47e6"]}]');
INSERT INTO "history" VALUES(8,1795747115825,5404340,'[{"did":"submit","task":"01a21ade-7331-76c7-824f-863c148cb437","priority":0,"maxAttempts":3,"concurrencyKey":"long and broken off","key":["long and broken off","b8716aedac7d6a0e378a3d486687d4456edb72228064b123cf85ccf94f34a77d"]},{"did":"claim","task":"01a21ade-7331-76c7-824f-863c148cb437","epoch":1,"holder":"b3248f7f-6569-4e38-b7e3-0f887afa1d41","credential":"706e784f3661b7d0","attempt":1,"expires":5434340}]');
INSERT INTO "history" VALUES(9,1795797846415,4739759,'[{"did":"takeBack","task":"01a21ade-7331-76c7-824f-863c148cb437","epoch":1,"died":true,"to":"pending"}]');
CREATE TABLE idempotency_keys (
        key TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        task_id BLOB NOT NULL,
        created_at BIGINT NOT NULL
    );
INSERT INTO "idempotency_keys" VALUES('done','e423093d0d3614126c03620998bc722d8e47eccaf0006ddc771059d2d2be1a91',X'01A21ADE724976AA9E10CB5700348206',1795747115593);
INSERT INTO "idempotency_keys" VALUES('cancelled','aaa6cac934ab8e455cd1e97a106e27e2e2674a342758b84313a80873239d9e92',X'01A21ADE7318722AB92A648D71DC5833',1795747115800);
INSERT INTO "idempotency_keys" VALUES('later','d54216430687f293d1b1a52b6d4205311ce30b95d7df42078820e8290a6a47e6',X'01A21ADE732770E9955225C6BCEB19C3',1795747115815);
INSERT INTO "idempotency_keys" VALUES('long and broken off','b8716aedac7d6a0e378a3d486687d4456edb72228064b123cf85ccf94f34a77d',X'01A21ADE733176C7824F863C148CB437',1795747115825);
CREATE TABLE key_bytes (key_name TEXT NOT NULL PRIMARY KEY, bytes BIGINT NOT NULL) WITHOUT ROWID;
INSERT INTO "key_bytes" VALUES('default',2070);
CREATE TABLE limits (
        kind TEXT NOT NULL CHECK (kind IN ('queue','key','concurrencyKey','tag')),
        name TEXT NOT NULL,
        concurrency BIGINT,
        rate_starts BIGINT,
        rate_ms BIGINT,
        paused BOOLEAN NOT NULL,
        PRIMARY KEY (kind, name),
        CHECK ((rate_starts IS NULL) = (rate_ms IS NULL))
    ) WITHOUT ROWID;
INSERT INTO "limits" VALUES('tag','red',3,9,1000,0);
CREATE TABLE messages (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        task_id BLOB NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('message','interrupt')),
        text TEXT NOT NULL,
        at BIGINT NOT NULL,
        epoch BIGINT,
        done_at BIGINT
    );
INSERT INTO "messages" VALUES(1,X'01A21ADE724976AA9E10CB5700348206','message','x',1,1,1);
CREATE TABLE questions (
        task_id BLOB NOT NULL,
        request_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        input TEXT NOT NULL,
        suggestions TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        deadline BIGINT NOT NULL,
        answer TEXT,
        answered_at BIGINT,
        closed BOOLEAN NOT NULL,
        PRIMARY KEY (task_id, request_id),
        CHECK ((answer IS NULL) = (answered_at IS NULL))
    ) WITHOUT ROWID;
INSERT INTO "questions" VALUES(X'01A21ADE724976AA9E10CB5700348206','x','x','x','x',1,1,'x',1,1);
CREATE TABLE queue_state (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        paused BOOLEAN NOT NULL,
        concurrency INTEGER
    , turn BIGINT NOT NULL DEFAULT 0);
INSERT INTO "queue_state" VALUES(1,0,NULL,1680);
CREATE TABLE race_entries (
        task_id BLOB NOT NULL PRIMARY KEY,
        race_id BLOB NOT NULL,
        place BIGINT NOT NULL,
        won BOOLEAN
    ) WITHOUT ROWID;
INSERT INTO "race_entries" VALUES(X'01A21ADE724976AA9E10CB5700348206',X'01A21ADE724976AA9E10CB5700348206',1,1);
CREATE TABLE rules (
        id BLOB NOT NULL PRIMARY KEY,
        key_name TEXT NOT NULL,
        rule TEXT NOT NULL,
        tag TEXT,
        folder TEXT,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "rules" VALUES(X'019BE9AD3C5A7F00B1A2C3D4E5F60718','alice','Bash(cargo test *)','ci','/r',1795908603000,'alice');
CREATE TABLE schedule_runs (
        n INTEGER NOT NULL PRIMARY KEY,
        schedule_id BLOB NOT NULL,
        due_at BIGINT,
        fired_at BIGINT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('submitted','missed','skipped','refused')),
        task_id BLOB,
        detail TEXT
    );
INSERT INTO "schedule_runs" VALUES(1,X'01',1,1,'skipped',X'01A21ADE724976AA9E10CB5700348206','x');
CREATE TABLE schedules (
        id BLOB NOT NULL PRIMARY KEY,
        name TEXT,
        cron TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        spec TEXT NOT NULL,
        key_name TEXT NOT NULL,
        missed TEXT NOT NULL CHECK (missed IN ('skip','once')),
        overlap TEXT NOT NULL CHECK (overlap IN ('allow','skip')),
        continue_session BOOLEAN NOT NULL,
        enabled BOOLEAN NOT NULL,
        next_at BIGINT,
        created_at BIGINT NOT NULL
    );
INSERT INTO "schedules" VALUES(X'01A21ADE730677D3B6F3CAD0207BF6F0',NULL,'0 0 1 1 *','UTC','{"instruction":"by the clock","context":{},"priority":0,"options":{"sdk":{}}}','default','skip','allow',0,1,1798761600000,1795747115782);
CREATE TABLE "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" integer NOT NULL );
INSERT INTO "seaql_migrations" VALUES('m0001_base',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0002_attempts',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0003_history',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0004_sessions',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0005_talk',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0006_limits',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0007_directories',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0008_groups',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0009_event_order',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0010_webhooks',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0011_schedules',1795747115);
INSERT INTO "seaql_migrations" VALUES('m0012_remarks',1795797846);
INSERT INTO "seaql_migrations" VALUES('m0013_words',1795797900);
INSERT INTO "seaql_migrations" VALUES('m0014_keys',1795896311);
INSERT INTO "seaql_migrations" VALUES('m0015_transcripts',1795904597);
INSERT INTO "seaql_migrations" VALUES('m0016_labels',1795908580);
INSERT INTO "seaql_migrations" VALUES('m0017_open_questions',1795908580);
INSERT INTO "seaql_migrations" VALUES('m0018_figures',1795908600);
INSERT INTO "seaql_migrations" VALUES('m0019_loops',1795908601);
INSERT INTO "seaql_migrations" VALUES('m0020_traces',1795908602);
INSERT INTO "seaql_migrations" VALUES('m0021_dependencies',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0022_shares',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0023_files',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0024_secrets',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0025_handovers',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0026_races',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0027_touches',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0028_rules',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0029_child_tasks',1795908603);
INSERT INTO "seaql_migrations" VALUES('m0030_notifications',1795908604);
INSERT INTO "seaql_migrations" VALUES('m0031_plain_check',1795908605);
CREATE TABLE secrets (
        key_name TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BLOB NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (key_name, name)
    ) WITHOUT ROWID;
INSERT INTO "secrets" VALUES('default','NPM',X'0102',1,2);
CREATE TABLE shares (name TEXT NOT NULL PRIMARY KEY, weight BIGINT NOT NULL, pass BIGINT NOT NULL) WITHOUT ROWID;
INSERT INTO "shares" VALUES('ci',3,840);
INSERT INTO "shares" VALUES('team-a',1,2520);
CREATE TABLE spending (
        day TEXT NOT NULL,
        key_name TEXT NOT NULL,
        cost_usd DOUBLE NOT NULL,
        attempts BIGINT NOT NULL,
        input_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        cache_write_tokens BIGINT NOT NULL,
        PRIMARY KEY (day, key_name)
    ) WITHOUT ROWID;
INSERT INTO "spending" VALUES('2026-11-27','default',0.01,1,0,0,0,0);
CREATE TABLE starts (kind TEXT NOT NULL, name TEXT NOT NULL, at BIGINT NOT NULL);
INSERT INTO "starts" VALUES('tag','red',1795747115593);
INSERT INTO "starts" VALUES('tag','red',1795747115825);
CREATE TABLE task_counts (
        key_name TEXT NOT NULL,
        status TEXT NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (key_name, status)
    ) WITHOUT ROWID;
INSERT INTO "task_counts" VALUES('default','cancelled',1);
INSERT INTO "task_counts" VALUES('default','completed',1);
INSERT INTO "task_counts" VALUES('default','failed',1);
INSERT INTO "task_counts" VALUES('default','pending',2);
INSERT INTO "task_counts" VALUES('default','running',0);
CREATE TABLE task_files (
        task_id BLOB NOT NULL,
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (task_id, key_name, id)
    ) WITHOUT ROWID;
INSERT INTO "task_files" VALUES(X'01A21ADE724976AA9E10CB5700348206','ci','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa');
CREATE TABLE task_tags (
        tag TEXT NOT NULL,
        task_id BLOB NOT NULL,
        PRIMARY KEY (tag, task_id)
    ) WITHOUT ROWID;
INSERT INTO "task_tags" VALUES('blue',X'01A21ADE724976AA9E10CB5700348206');
INSERT INTO "task_tags" VALUES('blue',X'01A21ADE7318722AB92A648D71DC5833');
INSERT INTO "task_tags" VALUES('blue',X'01A21ADE732770E9955225C6BCEB19C3');
INSERT INTO "task_tags" VALUES('blue',X'01A21ADE733176C7824F863C148CB437');
INSERT INTO "task_tags" VALUES('red',X'01A21ADE724976AA9E10CB5700348206');
INSERT INTO "task_tags" VALUES('red',X'01A21ADE7318722AB92A648D71DC5833');
INSERT INTO "task_tags" VALUES('red',X'01A21ADE732770E9955225C6BCEB19C3');
INSERT INTO "task_tags" VALUES('red',X'01A21ADE733176C7824F863C148CB437');
CREATE TABLE tasks (
        id BLOB NOT NULL PRIMARY KEY,
        status TEXT NOT NULL CHECK (status = 'pending' OR status = 'running' OR status = 'completed' OR status = 'failed' OR status = 'cancelled'),
        spec TEXT NOT NULL,
        priority BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        due_at BIGINT,
        started_at BIGINT,
        completed_at BIGINT,
        attempt INTEGER NOT NULL,
        finished_attempts INTEGER NOT NULL CHECK (finished_attempts <= max_attempts),
        crashes INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        epoch BIGINT NOT NULL,
        holder BLOB,
        lease_ms BIGINT,
        lease_boot BLOB,
        worker TEXT,
        working_directory TEXT,
        retry_of BLOB,
        last_event BIGINT NOT NULL,
        session_id TEXT,
        result TEXT,
        structured_output TEXT,
        error_class TEXT,
        error_code TEXT,
        error_message TEXT,
        cost_usd DOUBLE,
        usage TEXT,
        num_turns BIGINT,
        duration_ms BIGINT,
        permission_denials TEXT, attempt_events BIGINT NOT NULL DEFAULT 0, resume_session_id TEXT, continued_from BLOB, waiting_for TEXT, pending_messages INTEGER NOT NULL DEFAULT 0, key_name TEXT NOT NULL DEFAULT 'default', max_budget_usd DOUBLE, exclusive BOOLEAN NOT NULL DEFAULT FALSE, held TEXT, own_directory BOOLEAN NOT NULL DEFAULT FALSE, concurrency_key TEXT, remarks TEXT, lane TEXT NOT NULL DEFAULT '', cost_so_far REAL, looping TEXT, trace_parent TEXT, dependencies INTEGER NOT NULL DEFAULT 0, share TEXT NOT NULL DEFAULT '',
        CHECK ((status = 'running') = (holder IS NOT NULL))
    );
INSERT INTO "tasks" VALUES(X'01A21ADE724976AA9E10CB5700348206','completed','{"instruction":"done","context":{},"priority":0,"tags":["blue","red"],"concurrencyKey":"done","options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}}}',0,1795747115593,NULL,1795747115593,1795747115711,1,1,0,3,1,NULL,NULL,NULL,'inline','/home/user/data/work/01a21ade-7249-76aa-9e10-cb5700348206',NULL,9,'none','ok',NULL,NULL,NULL,NULL,0.01,NULL,1,100,NULL,6,NULL,NULL,NULL,0,'default',NULL,0,NULL,1,'done','{"costSetAside":true,"backgroundEnded":["local_bash: x"]}','',0.25,NULL,'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',0,'team-a');
INSERT INTO "tasks" VALUES(X'01A21ADE7318722AB92A648D71DC5833','cancelled','{"instruction":"cancelled","context":{},"priority":0,"runAt":"2125-01-01T00:00:00.000Z","tags":["blue","red"],"concurrencyKey":"cancelled","options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}}}',0,1795747115800,NULL,NULL,1795747115809,0,0,0,3,0,NULL,NULL,NULL,NULL,'/home/user/data/work/01a21ade-7318-722a-b92a-648d71dc5833',NULL,2,'01a21ade-7318-722a-b92a-648d71dc5833',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,'default',NULL,0,NULL,1,'cancelled',NULL,'',NULL,NULL,NULL,0,'');
INSERT INTO "tasks" VALUES(X'01A21ADE732770E9955225C6BCEB19C3','pending','{"instruction":"later","context":{},"priority":0,"runAt":"2125-01-01T00:00:00.000Z","tags":["blue","red"],"concurrencyKey":"later","options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}}}',0,1795747115815,4000000000000,NULL,NULL,0,0,0,3,0,NULL,NULL,NULL,NULL,'/home/user/data/work/01a21ade-7327-70e9-9552-25c6bceb19c3',NULL,1,'01a21ade-7327-70e9-9552-25c6bceb19c3',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,'default',NULL,0,'dependencies:',1,'later',NULL,'',NULL,NULL,NULL,2,'');
INSERT INTO "tasks" VALUES(X'01A21ADE733176C7824F863C148CB437','pending','{"instruction":"long and broken off","context":{},"priority":0,"tags":["blue","red"],"concurrencyKey":"long and broken off","options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}}}',0,1795747115825,NULL,1795747115825,NULL,1,0,1,3,1,NULL,NULL,NULL,'inline','/home/user/data/work/01a21ade-7331-76c7-824f-863c148cb437',NULL,6,'01a21ade-7331-76c7-824f-863c148cb437',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,3,'0198c0de-0000-7000-8000-00000000000a',NULL,NULL,2,'default',NULL,0,NULL,1,'long and broken off',NULL,'',NULL,NULL,NULL,0,'');
INSERT INTO "tasks" VALUES(X'01A21ADE724976AA9E10CB57003482FF','failed','{"instruction":"done","context":{},"priority":0,"tags":["blue","red"],"concurrencyKey":"done","options":{"webhook":{"url":"http://127.0.0.1:9/"},"sdk":{}}}',0,1795747115593,NULL,1795747115593,1795747115711,1,1,0,3,1,NULL,NULL,NULL,'inline','/home/user/data/work/01a21ade-7249-76aa-9e10-cb5700348206',NULL,9,'none',NULL,NULL,'invalid','API_REFUSED','no',0.01,NULL,1,100,NULL,6,NULL,NULL,NULL,0,'default',NULL,0,NULL,1,'done',NULL,'',NULL,NULL,NULL,0,'');
CREATE TABLE touches (
        task_id BLOB NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (task_id, place)
    ) WITHOUT ROWID;
INSERT INTO "touches" VALUES(X'01A21ADE724976AA9E10CB5700348206','/r/a.rs');
CREATE TABLE transcripts (
        n INTEGER NOT NULL PRIMARY KEY,
        session_id BLOB NOT NULL,
        task_id BLOB NOT NULL,
        epoch BIGINT NOT NULL,
        part BIGINT NOT NULL,
        entries TEXT NOT NULL
    );
INSERT INTO "transcripts" VALUES(1,X'01A21ADE7318722AB92A648D71DC5833',X'01A21ADE7318722AB92A648D71DC5833',1,1,'{"type":"user"}
');
CREATE TABLE unsettled (task_id BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;
INSERT INTO "unsettled" VALUES(X'01A21ADE724976AA9E10CB5700348206');
CREATE TABLE waits (task_id BLOB NOT NULL PRIMARY KEY, open INTEGER NOT NULL, run_at BIGINT) WITHOUT ROWID;
INSERT INTO "waits" VALUES(X'01A21ADE732770E9955225C6BCEB19C3',1,4102444800000);
CREATE TABLE webhooks (
        id TEXT NOT NULL PRIMARY KEY,
        task_id BLOB,
        url TEXT NOT NULL,
        secret TEXT,
        events TEXT NOT NULL,
        created_at BIGINT NOT NULL
    , failing_since BIGINT, disabled_at BIGINT, disabled_reason TEXT, key_name TEXT, format TEXT, tags TEXT, quiet BOOLEAN);
INSERT INTO "webhooks" VALUES('4192fe7d57075c9862428ec7426bc502',NULL,'http://127.0.0.1:9/',NULL,',completed,failed,cancelled,',1795747115559,5,6,'gone',NULL,NULL,NULL,NULL);
INSERT INTO "webhooks" VALUES('7fd0b82cbf7b2514a53d4770eacb7af0',X'01A21ADE724976AA9E10CB5700348206','http://127.0.0.1:9/',NULL,',completed,failed,cancelled,',1795747115593,5,6,'gone',NULL,NULL,NULL,NULL);
INSERT INTO "webhooks" VALUES('3c003146c193b975cbfb84939278e0c1',X'01A21ADE7318722AB92A648D71DC5833','http://127.0.0.1:9/',NULL,',completed,failed,cancelled,',1795747115800,5,6,'gone',NULL,NULL,NULL,NULL);
INSERT INTO "webhooks" VALUES('a039961d38708121ac8ad60f2bd45da6',X'01A21ADE732770E9955225C6BCEB19C3','http://127.0.0.1:9/',NULL,',completed,failed,cancelled,',1795747115815,5,6,'gone',NULL,NULL,NULL,NULL);
INSERT INTO "webhooks" VALUES('f86fb6bb4f26466afd28bd2b5de4e8cd',X'01A21ADE733176C7824F863C148CB437','http://127.0.0.1:9/',NULL,',completed,failed,cancelled,',1795747115825,5,6,'gone',NULL,NULL,NULL,NULL);
INSERT INTO "webhooks" VALUES('11111111-0000-7000-8000-0000000000aa',NULL,'http://127.0.0.1:1/notify',NULL,',completed,failed,cancelled,',1795747115559,5,6,'gone',NULL,'ntfy','ci',1);
CREATE TABLE workers (
        holder BLOB NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        process TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        beat_at BIGINT NOT NULL,
        running BIGINT NOT NULL,
        concurrency BIGINT NOT NULL
    , labels TEXT NOT NULL DEFAULT '', version TEXT NOT NULL DEFAULT '', drain BOOLEAN NOT NULL DEFAULT FALSE);
INSERT INTO "workers" VALUES(X'000102030405060708090A0B0C0D0E0F','worker-0','here','{"pid":1,"start":1,"boot":"00000000-0000-4000-8000-000000000001","namespace":"pid:[1]"}',1,2,0,2,'','',0);
CREATE INDEX tasks_due ON tasks (due_at) WHERE status = 'pending' AND due_at IS NOT NULL;
CREATE INDEX tasks_running ON tasks (holder) WHERE status = 'running';
CREATE INDEX tasks_status ON tasks (status, id);
CREATE INDEX idempotency_task ON idempotency_keys (task_id);
CREATE INDEX tasks_resumes ON tasks (resume_session_id) WHERE resume_session_id IS NOT NULL AND status IN ('pending', 'running');
CREATE INDEX tasks_continued ON tasks (continued_from) WHERE continued_from IS NOT NULL;
CREATE INDEX questions_answered ON questions (task_id) WHERE answer IS NOT NULL AND NOT closed;
CREATE INDEX messages_task ON messages (task_id, id);
CREATE INDEX messages_open ON messages (task_id, id) WHERE done_at IS NULL;
CREATE INDEX tasks_exclusive ON tasks (id) WHERE exclusive AND status IN ('pending','running');
CREATE INDEX attempts_reserved ON attempts (key_name) WHERE ended_at IS NULL AND reserved_usd IS NOT NULL;
CREATE INDEX tasks_directory ON tasks (working_directory, id) WHERE NOT own_directory;
CREATE INDEX tasks_concurrency_key ON tasks (concurrency_key)
        WHERE concurrency_key IS NOT NULL AND status IN ('pending','running');
CREATE INDEX starts_group ON starts (kind, name, at);
CREATE UNIQUE INDEX events_of_task ON events (task_id, seq);
CREATE INDEX webhooks_task ON webhooks (task_id);
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending';
CREATE INDEX deliveries_task ON deliveries (task_id, created_at);
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled AND next_at IS NOT NULL;
CREATE INDEX schedule_runs_of ON schedule_runs (schedule_id, n);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
CREATE INDEX api_keys_budget ON api_keys (name) WHERE daily_budget_usd IS NOT NULL;
CREATE INDEX tasks_key ON tasks (key_name, id);
CREATE TRIGGER tasks_count_insert AFTER INSERT ON tasks BEGIN
        INSERT INTO task_counts (key_name, status, count) VALUES (NEW.key_name, NEW.status, 1)
            ON CONFLICT (key_name, status) DO UPDATE SET count = count + 1;
    END;
CREATE TRIGGER tasks_count_delete AFTER DELETE ON tasks BEGIN
        UPDATE task_counts SET count = count - 1 WHERE key_name = OLD.key_name AND status = OLD.status;
    END;
CREATE TRIGGER tasks_count_update AFTER UPDATE OF status ON tasks WHEN OLD.status <> NEW.status BEGIN
        UPDATE task_counts SET count = count - 1 WHERE key_name = OLD.key_name AND status = OLD.status;
        INSERT INTO task_counts (key_name, status, count) VALUES (NEW.key_name, NEW.status, 1)
            ON CONFLICT (key_name, status) DO UPDATE SET count = count + 1;
    END;
CREATE INDEX transcripts_session ON transcripts (session_id, n);
CREATE UNIQUE INDEX transcripts_part ON transcripts (task_id, epoch, part);
CREATE INDEX questions_open ON questions (asked_at, task_id, request_id) WHERE answer IS NULL AND NOT closed;
CREATE INDEX tasks_conversation ON tasks (session_id, id) WHERE resume_session_id IS NOT NULL;
CREATE INDEX dependencies_on ON dependencies (on_task, state);
CREATE INDEX tasks_retry_of ON tasks (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX tasks_ready ON tasks (lane, share, priority DESC, id) WHERE status = 'pending' AND due_at IS NULL;
CREATE INDEX tasks_held ON tasks (held, share, priority DESC, id) WHERE status = 'pending' AND held IS NOT NULL;
CREATE INDEX files_blob ON files (blob);
CREATE INDEX files_used ON files (used_at);
CREATE INDEX task_files_id ON task_files (key_name, id);
CREATE INDEX artifacts_blob ON artifacts (blob, bytes);
CREATE INDEX race_entries_race ON race_entries (race_id);
CREATE INDEX touches_place ON touches (place);
CREATE INDEX rules_key ON rules (key_name);
CREATE INDEX questions_by_answer ON questions (answered_at) WHERE answer IS NOT NULL;
CREATE INDEX child_tasks_parent ON child_tasks (parent_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',1);
INSERT INTO "sqlite_sequence" VALUES('audit_log',1);
COMMIT;
