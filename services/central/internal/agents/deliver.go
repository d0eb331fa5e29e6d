package agents

import (
	"context"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
)

const (
	// offered is how many tasks wait in out at the most: answers need room too.
	offered = outMessages / 2
	// mostUrgent tasks are not held back by max_inflight_tasks, up to urgentInflight:
	// two hundred nodes may be interrupted in the same minute.
	mostUrgent, urgentInflight = 1, 1000
	// anyUrgency is the least urgent that a task can be.
	anyUrgency = 10
)

// deliver asks for the end of cancelled tasks and offers waiting ones as far as
// the agent has room.
func (sess *session) deliver(ctx context.Context) error {
	if err := sess.cancel(ctx); err != nil {
		return err
	}
	room := int(sess.Settings.GetMaxInflightTasks()) - sess.busy()
	if room <= 0 {
		if err := sess.forget(ctx); err != nil {
			return err
		}
		room = int(sess.Settings.GetMaxInflightTasks()) - sess.busy()
	}
	least := int32(anyUrgency)
	if room <= 0 {
		room, least = urgentInflight-sess.busy(), mostUrgent
	}
	if room = min(room, sess.free()); room <= 0 {
		return nil
	}
	tasks, err := sess.Store.LeaseUrgentTasks(ctx, sess.cluster, sess.epoch, dispatch.OfferLease, room, least)
	if err != nil {
		return err
	}
	for _, task := range tasks {
		task.LeaseSeconds = dispatch.RunLease.Seconds()
		sess.hold(task.GetTaskId(), true)
		if !sess.queue(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Task{Task: task}}) {
			sess.hold(task.GetTaskId(), false) // its lease runs out and it is offered again
		}
	}
	if len(tasks) == room {
		sess.again()
	}
	return nil
}

// free is for how many tasks out has room; without any, pump looks again when it
// has sent what waits.
func (sess *session) free() int {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.out.bytes >= outBytes/2 || sess.out.len() >= offered {
		sess.more = true
		return 0
	}
	return offered - sess.out.len()
}

// again looks once more when what waits is sent.
func (sess *session) again() {
	sess.mu.Lock()
	sess.more = true
	sess.startPump()
	sess.mu.Unlock()
}

func (sess *session) cancel(ctx context.Context) error {
	if sess.busy() == 0 {
		return nil
	}
	tasks, err := sess.Store.CancelledTasks(ctx, sess.cluster)
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if !sess.ask(task) {
			continue
		}
		sess.say(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_TaskCancel{
			TaskCancel: &agentv1.TaskCancel{TaskId: task.ID.String(), Attempt: task.Attempt, Reason: task.Reason},
		}})
	}
	return nil
}
