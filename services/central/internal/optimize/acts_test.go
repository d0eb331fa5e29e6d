package optimize

import (
	"strings"
	"testing"
)

// acts of the audit log in order; the agent may end tasks in another one.
func (w *world) acts(t *testing.T) string {
	t.Helper()
	rows, err := w.db.Pool.Query(t.Context(), `SELECT action || coalesce(' ' || nullif(detail ->> 'step', ''), '') || CASE WHEN action LIKE 'task.%' AND action NOT LIKE '%.success' THEN ' ' || subject ELSE '' END
		FROM audit_log WHERE customer_id IS NOT NULL AND cluster_id IS NOT NULL AND action <> 'cluster.create' ORDER BY audit_id`)
	must(t, err)
	defer rows.Close()
	var acts []string
	for rows.Next() {
		var act string
		must(t, rows.Scan(&act))
		// Cordons are written at once, in no order.
		if last := len(acts) - 1; last >= 0 && strings.HasPrefix(act, "task.cordon_node ") && strings.HasPrefix(acts[last], "task.cordon_node ") && act < acts[last] {
			act, acts[last] = acts[last], act
		}
		acts = append(acts, act)
	}
	must(t, rows.Err())
	return strings.Join(acts, "\n")
}

func TestEverythingThatAStoryDoesIsInTheAuditLog(t *testing.T) {
	w := newWorld(t)
	w.story(t, w.start(t))
	equal(t, "acts", w.acts(t), strings.TrimSpace(`
optimization.trigger
optimization.step state
optimization.step decide
optimization.launched
optimization.step launch
optimization.step ready
task.label_node 0002
task.label_node.success
optimization.step label
task.cordon_node old-1
task.cordon_node old-2
task.cordon_node.success
task.cordon_node.success
task.drain_node old-1
task.drain_node.success
task.drain_node old-2
task.drain_node.success
optimization.step drain
optimization.terminated
optimization.step terminate
optimization.step verify
optimization.completed`))
	var ids string
	must(t, w.db.Pool.QueryRow(t.Context(), "SELECT detail ->> 'instance_ids' FROM audit_log WHERE action = 'optimization.launched'").Scan(&ids))
	equal(t, "launched", ids, `["i-0002"]`)
}

func TestWhatARollbackDoesIsInTheAuditLog(t *testing.T) {
	w := newWorld(t)
	w.fails["drain_node old-1"], w.fails["drain_node old-2"] = "blocked", "blocked"
	told := w.story(t, w.start(t))
	equal(t, "status", told.GetStatus(), "failed")
	acts := w.acts(t)
	for _, act := range []string{
		"optimization.launched", "task.drain_node.failed old-1", "task.drain_node.failed old-2", "optimization.step drain", "task.uncordon_node old-1",
		"task.drain_node 0002", "optimization.step rollback", "optimization.failed",
	} {
		if !strings.Contains(acts, act) {
			t.Errorf("the audit log does not tell of %s:\n%s", act, acts)
		}
	}
}
