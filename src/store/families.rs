//! Expressions on the budgets of tasks and of those that were made from inside them: the same for every engine.

/// What the children of a task have of its budget: that of each which has not ended; of each which has, its cost, and what
/// its own children have. `parent` is an expression for the id of the task.
pub fn given(parent: &str) -> String {
    let live = "status IN ('pending', 'running')";
    format!(
        "COALESCE((SELECT SUM(CASE WHEN t.{live} THEN COALESCE(t.max_budget_usd, 0) ELSE COALESCE(t.cost_usd, 0)
            + COALESCE((SELECT SUM(CASE WHEN g.{live} THEN g.max_budget_usd ELSE g.cost_usd END)
                FROM child_tasks d JOIN tasks g ON g.id = d.task_id WHERE d.parent_id = t.id), 0) END)
        FROM child_tasks c JOIN tasks t ON t.id = c.task_id WHERE c.parent_id = {parent}), 0)"
    )
}

/// What is used of the budget of a row of `tasks`: its cost, and what its children have. One that has not run has none.
pub fn used() -> String {
    format!(
        "CASE WHEN max_budget_usd IS NULL OR attempt = 0 THEN cost_usd ELSE COALESCE(cost_usd, 0) + {} END",
        given("tasks.id")
    )
}
