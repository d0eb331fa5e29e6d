package schedule

import (
	"context"
	"fmt"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// tell writes for the dashboards what became of a schedule, in the transaction that did it.
func tell(ctx context.Context, tx *store.Store, one *store.Schedule, news *adminv1.StreamResponse) error {
	customer, err := tx.CustomerOf(ctx, one.Cluster)
	if err != nil {
		return err
	}
	news.Type, news.ClusterId, news.Subject = "schedule", one.Cluster.String(), one.ID.String()
	news.Message = "schedule " + one.Name + " " + news.Message
	return tx.Tell(ctx, customer, news)
}

// tellChange tells of what people did to a schedule.
func tellChange(ctx context.Context, tx *store.Store, one *store.Schedule, actor, status, message string) error {
	return tell(ctx, tx, one, &adminv1.StreamResponse{Status: status, Actor: actor, Severity: "info", Message: message})
}

// tellMove tells how a run ended, or else of another state than before; of neither, nothing.
func tellMove(ctx context.Context, tx *store.Store, before, one *store.Schedule, run *store.ScheduleRun) error {
	switch {
	case run != nil && !run.FinishedAt.IsZero():
		return tell(ctx, tx, one, endOf(one, run))
	case stateOf(before) == stateOf(one) && before.HeldBecause == one.HeldBecause:
		return nil
	}
	news := &adminv1.StreamResponse{Status: stateOf(one), Severity: "info"}
	switch {
	case one.HeldBecause != "":
		news.Severity, news.Message = "warning", "is held: "+one.HeldBecause
	case one.Phase == falling:
		news.Message = "puts its workloads to sleep"
	case one.Phase == waking:
		news.Message = "wakes its workloads"
	case before.HeldBecause != "":
		news.Message = "is no longer held: its workloads are " + one.Phase
	default:
		news.Message = "is " + one.Phase
	}
	return tell(ctx, tx, one, news)
}

// endOf is how a run ended. What did not wake is worse than what did not sleep.
func endOf(one *store.Schedule, run *store.ScheduleRun) *adminv1.StreamResponse {
	did := map[string]string{toSleep: "put %s to sleep", toWake: "woke %s"}[run.Action]
	news := &adminv1.StreamResponse{Status: one.Phase, Severity: "info", Message: fmt.Sprintf(did, workloads(run.Workloads))}
	if len(run.Problems) > 0 {
		news.Severity = "warning"
		news.Message += "; " + run.Problems[0]
	}
	if n := len(run.Problems) - 1; n > 0 {
		news.Message += fmt.Sprintf(", and %d more", n)
	}
	if run.Status == "failed" {
		news.Status, news.Severity = "failed", map[string]string{toSleep: "warning", toWake: "error"}[run.Action]
	}
	return news
}

func workloads(n int32) string {
	if n == 1 {
		return "1 workload"
	}
	return fmt.Sprintf("%d workloads", n)
}

// stateOf is held, or how far it is.
func stateOf(one *store.Schedule) string {
	if one.HeldBecause != "" {
		return "held"
	}
	return one.Phase
}

// wakeText says until when a schedule stays awake, for people.
func wakeText(until time.Time) string {
	if until.IsZero() {
		return "goes by its calendar again"
	}
	return "stays awake until " + until.UTC().Format("2006-01-02 15:04 MST")
}

// changeText says what an update did, for people.
func changeText(before, now *store.Schedule) string {
	switch {
	case before.Enabled && !now.Enabled:
		return "was disabled"
	case !before.Enabled && now.Enabled:
		return "was enabled"
	default:
		return "was changed"
	}
}
