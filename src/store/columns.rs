//! Columns of the tables that commands read and write whole, in the order in which they are stored: the same for every
//! engine.

/// Calls an engine's macro for each table: with its name, its row and its columns.
macro_rules! each_table {
    ($table:ident) => {
        $table!(
            "tasks",
            TaskRow {
                id,
                status,
                spec,
                priority,
                created_at,
                due_at,
                started_at,
                completed_at,
                attempt,
                finished_attempts,
                crashes,
                max_attempts,
                epoch,
                holder,
                lease_ms,
                lease_boot,
                worker,
                working_directory,
                retry_of,
                last_event,
                attempt_events,
                session_id,
                resume_session_id,
                continued_from,
                key_name,
                max_budget_usd,
                own_directory,
                exclusive,
                concurrency_key,
                lane,
                share,
                held,
                waiting_for,
                pending_messages,
                result,
                structured_output,
                error_class,
                error_code,
                error_message,
                cost_usd,
                cost_so_far,
                looping,
                trace_parent,
                dependencies,
                usage,
                num_turns,
                duration_ms,
                permission_denials,
                remarks,
            }
        );

        $table!(
            "attempts",
            AttemptRow {
                task_id,
                number,
                epoch,
                worker,
                started_at,
                ended_at,
                outcome,
                error_class,
                error_code,
                error_message,
                session_id,
                cost_usd,
                key_name,
                reserved_usd,
                input_tokens,
                output_tokens,
                cache_read_tokens,
                cache_write_tokens,
                cost_set_aside,
            }
        );

        $table!("dependencies", DependencyRow { task_id, n, on_task, name, condition, on_failure, state });

        $table!(
            "questions",
            QuestionRow {
                task_id,
                request_id,
                tool,
                input,
                suggestions,
                asked_at,
                deadline,
                answer,
                answered_at,
                closed
            }
        );

        $table!("messages", MessageRow { id, task_id, kind, text, at, epoch, done_at });

        $table!(
            "workers",
            WorkerRow {
                holder,
                name,
                host,
                process,
                started_at,
                beat_at,
                running,
                concurrency,
                labels,
                version,
                drain
            }
        );

        $table!(
            "api_keys",
            ApiKeyRow {
                name,
                hash,
                previous_hash,
                previous_until,
                rights,
                daily_budget_usd,
                created_at,
                expires_at,
                revoked_at,
                last_used_at,
            }
        );

        $table!("idempotency_keys", IdempotencyKeyRow { key, fingerprint, task_id, created_at });
    };
}

pub(in crate::store) use each_table;
